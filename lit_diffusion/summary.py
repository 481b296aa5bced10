"""summary.json, schema 1: the one file that says what became of a run."""

import json
from pathlib import Path
from typing import Any

from lit_diffusion.errors import ConfigError

SCHEMA = 1
FILE = "summary.json"
TRACKED = "track/"  # begins the names of scores that were tracked on the way, with a protocol of their own


def read(path: Path) -> dict[str, Any]:
    """The content of a summary. Raises ConfigError where it is unreadable, of another kind, or of a newer schema."""
    try:
        summary = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged ({error}); remove it") from error
    return checked(summary, path)


def checked(summary: Any, origin: object) -> dict[str, Any]:
    """`summary`, if it is one. origin: where it is from, for the message."""
    if not (isinstance(summary, dict) and isinstance(summary.get("scores"), dict)):
        raise ConfigError(f"{origin} is no summary of a run; remove it")
    if not isinstance(summary.get("schema"), int) or summary["schema"] > SCHEMA:
        raise ConfigError(
            f"{origin} has schema {summary.get('schema')!r}, and this version of lit_diffusion reads up to {SCHEMA}; "
            "use the version that wrote it, or a newer one"
        )
    return summary
