"""How this package was installed, and so how it is installed again."""

import json
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlparse

import lit_diffusion
from lit_diffusion.doctor.finding import pip

PACKAGE = "lit_diffusion"


def reinstall() -> str:
    """The command that writes the package's own files again, its commands among them, and touches no other package."""
    return pip("install", "--force-reinstall", "--no-deps", *source())


def source() -> list[str]:
    """What pip is given: the checkout it was installed from, an address, or the name where an index served it."""
    for one in distributions(name=PACKAGE):
        if text := one.read_text("direct_url.json"):  # PEP 610: everything but an index leaves one
            origin = json.loads(text)
            address = origin["url"]
            if "vcs_info" in origin:
                return [f"{origin['vcs_info']['vcs']}+{address}"]
            where = unquote(urlparse(address).path) if address.startswith("file:") else address
            return ["-e", where] if origin.get("dir_info", {}).get("editable") else [where]
    checkout = Path(lit_diffusion.__file__).parent.parent
    return ["-e", str(checkout)] if (checkout / "setup.cfg").is_file() else [PACKAGE]
