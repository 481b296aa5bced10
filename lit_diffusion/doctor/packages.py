"""The installed versions against those that the package declares: read from metadata, nothing is imported.

Importing a malicious package runs its code, so whoever asks for versions must not import.
"""

import platform
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from typing import Any

from lit_diffusion.doctor.finding import Finding, ok, pip, problem, warning
from lit_diffusion.doctor.installation import PACKAGE, reinstall

ADVISORY = "https://github.com/Lightning-AI/pytorch-lightning/security/advisories/GHSA-w37p-236h-pfx3"
MALICIOUS = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}
CLEAN = "lightning>=2.6.6,<2.7"


def malicious() -> list[Finding]:
    """A problem for every malicious upload that is installed anywhere Python looks, shadowed ones included."""
    found = {
        (name, one.version)
        for name, versions in MALICIOUS.items()
        for one in distributions(name=name)
        if one.version in versions
    }
    return [
        problem(
            name,
            f"MALICIOUS: {name} {version} steals credentials as soon as it is imported ({ADVISORY})",
            f"import nothing; {pip('uninstall', '-y', *MALICIOUS)}; from another machine, replace every password, "
            "token and key that this one could read (GitHub, PyPI, npm, cloud, SSH, W&B, .env files) and look through "
            f"your repositories for commits that are not yours; then {pip('install', '--no-cache-dir', CLEAN)}",
            version=version,
            malicious=True,
        )
        for name, version in sorted(found)
    ]


def examine() -> Iterator[Finding]:
    """Malicious packages, then Python and every package that is declared, each with what is declared."""
    bad = malicious()
    yield from bad
    try:
        own = distribution(PACKAGE)
    except PackageNotFoundError:
        yield warning(PACKAGE, "not installed, so that what it needs is not known", reinstall(), version=None)
        return
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield problem("packaging", "missing; versions are not compared", pip("install", "packaging"), version=None)
        lines = (line.partition(";")[0].strip() for line in own.requires or [] if "extra ==" not in line)
        yield from (absent(bare(line), line) for line in lines if installed(bare(line)) is None)
        return
    yield python((own.metadata.get_all("Requires-Python") or [""])[0])
    declared = [Requirement(line) for line in own.requires or []]
    declared = [one for one in declared if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in declared:
        if one.name not in {finding.subject for finding in bad}:
            yield package(one, [other.name for other in declared])


def python(specifier: str) -> Finding:
    """The interpreter. A version that is too old for the package seldom gets here: pip refuses it."""
    version = platform.python_version()
    if specifier and not contains(specifier, version):
        return problem("python", f"{version}, needed {specifier}", "make an environment with a newer Python")
    return ok("python", f"{version}, needed {specifier or 'any'}", version=version, needed=specifier)


def package(requirement: Any, others: list[str]) -> Finding:
    """One requirement: whether it is installed, in a version that fits, and what it asks of the `others`."""
    name, needed, wanted = requirement.name, str(requirement.specifier), str(requirement).partition(";")[0].strip()
    own = installed(name)
    if own is None:
        return absent(name, wanted)
    if not own.version:
        again = pip("install", "--force-reinstall", wanted)
        return problem(name, "damaged: its metadata names no version", again, version=None, needed=needed)
    facts = {"version": own.version, "needed": needed}
    if not contains(needed, own.version):
        return problem(name, f"{own.version}, needed {needed}", pip("install", wanted), **facts)
    for wish, version in unmet(own, others):
        text = f"{own.version} asks for {wish}, installed is {version}"
        return warning(name, text, pip("install", "--upgrade", name, bare(wish)), **facts)
    return ok(name, f"{own.version}, needed {needed}", **facts)


def unmet(own: Distribution, others: list[str]) -> Iterator[tuple[str, str]]:
    """What a package asks of `others` and does not get, with the version that is there, as torchvision of torch."""
    from packaging.requirements import Requirement

    for one in map(Requirement, own.requires or []):
        asked = one.name in others and (one.marker is None or one.marker.evaluate({"extra": ""}))
        other = installed(one.name) if asked else None
        if other is not None and other.version and not contains(str(one.specifier), other.version):
            yield f"{one.name}{one.specifier}", other.version


def contains(specifier: str, version: str) -> bool:
    """Whether a version fits, builds between releases included; one that is no version fits nothing."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidVersion:
        return False


def installed(name: str) -> Distribution | None:
    """The distribution that an import finds."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def bare(requirement: str) -> str:
    """The name in a requirement, without extras and versions."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def absent(name: str, wanted: str) -> Finding:
    return problem(name, "missing", pip("install", wanted), version=None)
