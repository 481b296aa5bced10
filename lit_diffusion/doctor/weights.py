"""The weights that scores are computed with, and where references are kept, as the scores themselves look for them."""

from collections.abc import Iterator

from lit_diffusion.doctor.finding import PROBLEM, Finding, of_error, ok, problem, warning
from lit_diffusion.doctor.folders import space
from lit_diffusion.doctor.installation import reinstall
from lit_diffusion.errors import ConfigError


def examine() -> Iterator[Finding]:
    """Inception, the digits classifier, the cache. Raises where what they need cannot be imported."""
    from lit_diffusion.metrics.reference_cache import cache_folder

    yield inception()
    yield digits()
    yield space("cache", cache_folder(), "set LIT_DIFFUSION_CACHE to another folder")


def inception() -> Finding:
    """Torch's cache, every byte of the file compared with the official SHA-256."""
    from lit_diffusion.metrics import inception
    from lit_diffusion.metrics.features import content_of, sha256_of

    path = inception.cached_file()
    if path is None:
        text = f"not in {inception.cached_in()}; fetched when a score first needs it"
        return warning("Inception", text, f"without a network, {inception.where_to_put()}", path=None)
    try:
        digest = sha256_of(content_of(path, "make it readable, or remove it, and it is fetched again"))
        inception.check_official(path, digest)
    except ConfigError as error:
        return of_error("Inception", PROBLEM, error, path=str(path))
    return ok("Inception", f"{path}, SHA-256 {digest[:8]}.. is right", path=str(path), sha256=digest)


def digits() -> Finding:
    """The classifier that ships with the package, loaded."""
    from lit_diffusion.metrics.digits_features import FILE, DigitsFeatures

    features = DigitsFeatures()
    try:
        features.load()
    except ConfigError as error:
        text = str(error).partition("; ")[0]
        return problem("digits classifier", text, reinstall())
    except OSError as error:
        return problem("digits classifier", f"{FILE} cannot be read ({error.strerror})", reinstall())
    return ok("digits classifier", f"{FILE}, SHA-256 {features.sha256[:8]}.. is right", sha256=features.sha256)
