"""The weights that scores need, and the cache of reference statistics, found as the scores themselves find them."""

from collections.abc import Iterator

from lit_diffusion.doctor.finding import PROBLEM, Finding, from_error, ok, problem, warning
from lit_diffusion.doctor.installation import reinstall_command
from lit_diffusion.doctor.machine import check_space
from lit_diffusion.errors import ConfigError


def examine_weights() -> Iterator[Finding]:
    """Inception, our classifiers, the cache. Raises if a package that they need cannot be imported."""
    from lit_diffusion.metrics.reference_cache import cache_folder

    yield check_inception()
    yield check_classifiers()
    yield check_space("cache", cache_folder(), "set LIT_DIFFUSION_CACHE to another folder")


def check_inception() -> Finding:
    """The file in torch's cache, compared with the official SHA-256."""
    from lit_diffusion.metrics import inception
    from lit_diffusion.metrics.features import read_bytes, sha256_of

    path = inception.find_cached()
    if path is None:
        text = f"not in {inception.checkpoint_folder()}; downloaded when a score first needs it"
        return warning("Inception", text, f"without a network, {inception.manual_download()}", path=None)
    try:
        digest = sha256_of(read_bytes(path, "make it readable, or remove it to download it again"))
        inception.check_official(path, digest)
    except ConfigError as error:
        return from_error("Inception", PROBLEM, error, path=str(path))
    return ok("Inception", f"{path}, SHA-256 {digest[:8]}... is correct", path=str(path), sha256=digest)


def check_classifiers() -> Finding:
    """The classifiers that ship with the package, loaded."""
    from lit_diffusion.metrics import DigitsFeatures, FashionMNISTFeatures, MNISTFeatures

    shipped = DigitsFeatures(), MNISTFeatures(), FashionMNISTFeatures()
    for features in shipped:
        try:
            features.load()
        except ConfigError as error:
            return problem("classifiers", str(error).partition("; ")[0], reinstall_command())
        except OSError as error:
            return problem("classifiers", f"{features.file} cannot be read ({error.strerror})", reinstall_command())
    sums = {features.file: features.sha256 for features in shipped}
    text = ", ".join(f"{file} {digest[:8]}..." for file, digest in sums.items())
    return ok("classifiers", f"{text}: SHA-256 correct", sha256=sums)
