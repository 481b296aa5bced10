"""What is installed: the package, its requirements, and the owner of the command `lightning`.

Everything is read from metadata and nothing is imported: importing a malicious package runs its code.
"""

import json
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions, entry_points
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import lit_diffusion
from lit_diffusion.doctor.finding import Finding, ok, pip_command, problem, warning

PACKAGE = "lit_diffusion"
ADVISORY = "https://github.com/Lightning-AI/pytorch-lightning/security/advisories/GHSA-w37p-236h-pfx3"
MALICIOUS = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}
CLEAN = "lightning>=2.6.6,<2.7"
COMMAND, SUBJECT = "lightning", "lightning command"
FALLBACK = f"{sys.executable} -m {PACKAGE}"  # works whoever owns `lightning`


def find_malicious() -> list[Finding]:
    """A problem for each malicious upload installed anywhere on Python's path, including shadowed ones."""
    found = {
        (name, one.version)
        for name, versions in MALICIOUS.items()
        for one in distributions(name=name)
        if one.version in versions
    }
    return [
        problem(
            name,
            f"MALICIOUS: {name} {version} steals credentials when it is imported ({ADVISORY})",
            f"import nothing; {pip_command('uninstall', '-y', *MALICIOUS)}; from another machine, replace every "
            "password, token and key that this machine could read (GitHub, PyPI, npm, cloud, SSH, W&B, .env files) and "
            "check your repositories for commits that are not yours; then "
            f"{pip_command('install', '--no-cache-dir', CLEAN)}",
            version=version,
            malicious=True,
        )
        for name, version in sorted(found)
    ]


def examine_packages() -> Iterator[Finding]:
    """Malicious packages, then Python and each declared requirement."""
    bad = find_malicious()
    yield from bad
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        yield warning(PACKAGE, "not installed, so its requirements are unknown", reinstall_command(), version=None)
        return
    try:
        from packaging.requirements import Requirement
    except ImportError:
        repair = pip_command("install", "packaging")
        yield problem("packaging", "missing, so versions cannot be compared", repair, version=None)
        lines = (line.partition(";")[0].strip() for line in package.requires or [] if "extra ==" not in line)
        yield from (report_missing(bare_name(line), line) for line in lines if find_installed(bare_name(line)) is None)
        return
    yield check_python((package.metadata.get_all("Requires-Python") or [""])[0])
    declared = [Requirement(line) for line in package.requires or []]
    declared = [one for one in declared if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in declared:
        if one.name not in {finding.subject for finding in bad}:
            yield check_package(one, [other.name for other in declared])


def check_python(specifier: str) -> Finding:
    """The interpreter's version. pip usually refuses one that is too old."""
    version = platform.python_version()
    if specifier and not is_compatible(specifier, version):
        return problem("python", f"{version}, needed {specifier}", "create an environment with a newer Python")
    return ok("python", f"{version}, needed {specifier or 'any'}", version=version, needed=specifier)


def check_package(requirement: Any, others: list[str]) -> Finding:
    """Whether a requirement is installed in a compatible version, and compatible with the `others`."""
    name, needed, wanted = requirement.name, str(requirement.specifier), str(requirement).partition(";")[0].strip()
    found = find_installed(name)
    if found is None:
        return report_missing(name, wanted)
    if not found.version:
        repair = pip_command("install", "--force-reinstall", wanted)
        return problem(name, "damaged: its metadata has no version", repair, version=None, needed=needed)
    facts = {"version": found.version, "needed": needed}
    if not is_compatible(needed, found.version):
        return problem(name, f"{found.version}, needed {needed}", pip_command("install", wanted), **facts)
    for wish, version in find_conflicts(found, others):
        text = f"{found.version} needs {wish}, installed is {version}"
        return warning(name, text, pip_command("install", "--upgrade", name, bare_name(wish)), **facts)
    return ok(name, f"{found.version}, needed {needed}", **facts)


def find_conflicts(found: Distribution, others: list[str]) -> Iterator[tuple[str, str]]:
    """Unmet requirements of a package on `others`, with the version installed; such as torchvision's on torch."""
    from packaging.requirements import Requirement

    for one in map(Requirement, found.requires or []):
        applies = one.name in others and (one.marker is None or one.marker.evaluate({"extra": ""}))
        other = find_installed(one.name) if applies else None
        if other is not None and other.version and not is_compatible(str(one.specifier), other.version):
            yield f"{one.name}{one.specifier}", other.version


def is_compatible(specifier: str, version: str) -> bool:
    """Whether a version satisfies a specifier; pre-releases may, an invalid version never does."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidVersion:
        return False


def find_installed(name: str) -> Distribution | None:
    """The distribution that an import would find."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def bare_name(requirement: str) -> str:
    """The name in a requirement, without extras and versions."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def report_missing(name: str, wanted: str) -> Finding:
    return problem(name, "missing", pip_command("install", wanted), version=None)


def reinstall_command() -> str:
    """The command that reinstalls this package's files, including its commands, and no other package."""
    return pip_command("install", "--force-reinstall", "--no-deps", *find_source())


def find_source() -> list[str]:
    """pip's arguments for this package: its checkout, its address, or its name if it came from an index."""
    for one in distributions(name=PACKAGE):
        if text := one.read_text("direct_url.json"):  # PEP 610: written by every installation but one from an index
            origin = json.loads(text)
            address = origin["url"]
            if "vcs_info" in origin:
                return [f"{origin['vcs_info']['vcs']}+{address}"]
            where = unquote(urlparse(address).path) if address.startswith("file:") else address
            return ["-e", where] if origin.get("dir_info", {}).get("editable") else [where]
    checkout = Path(lit_diffusion.__file__).parent.parent
    return ["-e", str(checkout)] if (checkout / "setup.cfg").is_file() else [PACKAGE]


def examine_command() -> Iterator[Finding]:
    """The `lightning` that PATH finds and its owner: lightning-sdk installs one too, and so do other environments."""
    scripts = Path(sys.executable).parent
    found = shutil.which(COMMAND)
    facts = {"path": found, "claimed_by": sorted(find_claims())}
    if found is None and (scripts / COMMAND).exists():
        yield warning(
            SUBJECT, f"{scripts / COMMAND} is not on PATH", f"{path_command(scripts)}, or use {FALLBACK}", **facts
        )
    elif found is None:
        yield warning(SUBJECT, "command not found", f"{reinstall_command()}, or use {FALLBACK}", **facts)
    else:
        yield check_owner(Path(found), scripts, facts)


def check_owner(found: Path, scripts: Path, facts: dict[str, Any]) -> Finding:
    """The owner of the file that PATH finds. scripts: the folder of this environment's commands."""
    text = found.read_bytes()[:4096].decode(errors="replace")
    module = find_module(text)
    owner = PACKAGE if module == PACKAGE else find_claims().get(module, module or "something else")
    facts = {**facts, "owner": owner}
    folder = (find_interpreter(text) or found).parent
    if not (folder.exists() and folder.samefile(scripts)):
        repair = f"{path_command(scripts)}, or use {FALLBACK}"
        return warning(SUBJECT, f"{found} belongs to another environment and runs {owner}", repair, **facts)
    if owner != PACKAGE:
        repair = f"{reinstall_command()}; lit-diffusion and {FALLBACK} are the same command"
        return warning(SUBJECT, f"{found} belongs to {owner}, not to {PACKAGE}", repair, **facts)
    others = sorted(set(find_claims().values()) - {PACKAGE})
    passed_on = f", which passes on the commands of {', '.join(others)}" if others else ""
    return ok(SUBJECT, f"{found} belongs to {PACKAGE}{passed_on}", **facts)


def find_claims() -> dict[str, str]:
    """Module to distribution, for each installed distribution that declares a command `lightning`."""
    entries = entry_points(group="console_scripts", name=COMMAND)
    return {entry.value.partition(":")[0].partition(".")[0]: entry.dist.name for entry in entries if entry.dist}


def find_module(text: str) -> str:
    """The package that a console script imports; empty if none is found."""
    names = re.findall(r"^\s*(?:from|import) ([A-Za-z_]\w*)", text, re.MULTILINE)
    return next((name for name in names if name not in ("re", "sys", "importlib")), "")


def find_interpreter(text: str) -> Path | None:
    """The Python that starts a console script: on its first line, or its second if the path is long or has spaces."""
    match = re.match(r"#!(/\S*python\S*)\s", text) or re.match(
        r"#!/bin/sh\n'''exec' \"?(/[^\"\n]*?python[^\"\s]*)", text
    )
    return Path(match[1]) if match else None


def path_command(folder: Path) -> str:
    """The command after which PATH finds a folder first."""
    script = folder / "activate"
    return f"source {script}" if script.is_file() else f'export PATH="{folder}:$PATH"'
