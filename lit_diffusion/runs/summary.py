"""summary.json, schema 1: the status, scores and settings of a run in one file."""

import json
from pathlib import Path
from typing import Any

from lit_diffusion.config.keys import walk
from lit_diffusion.errors import ConfigError, one_line

LARGEST = 10 * 2**20  # bytes; real ones have some 10 KB
SCHEMA = 1
FILE = "summary.json"
PARTS = {"status": str, "reason": str, "settings": dict}
MOST = 2000  # settings, scores, or fields of a protocol; real ones have some 100
DEEPEST = 50  # levels of nesting; real ones have some 5
TRACKED = "track/"  # prefix of scores tracked during training, which have their own protocol


def read(path: Path) -> dict[str, Any]:
    """The content of a summary. Raises ConfigError if it is unreadable, not a summary, or of a newer schema."""
    try:
        if not path.is_file():
            raise ConfigError(f"{path} is not a regular file; remove it")
        check_size(path.stat().st_size, path)
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ConfigError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged ({one_line(error)}); remove it") from error
    return checked(summary, path)


def check_size(size: int, origin: object) -> None:
    """Raises ConfigError if `size` bytes are too many for a summary."""
    if size > LARGEST:
        raise ConfigError(
            f"{origin} has {size / 2**20:.0f} MB, but a summary has at most {LARGEST // 2**20}; remove it"
        )


def checked(summary: Any, origin: object) -> dict[str, Any]:
    """`summary`, after checking that it is one. origin: its source, for the message."""
    if not (isinstance(summary, dict) and isinstance(summary.get("scores"), dict)):
        raise ConfigError(f"{origin} is not the summary of a run; remove it")
    if not isinstance(summary.get("schema"), int) or summary["schema"] > SCHEMA:
        raise ConfigError(
            f"{origin} has schema {summary.get('schema')!r}, but this version of lit_diffusion reads up to {SCHEMA}; "
            "use the version that wrote it, or a newer one"
        )
    for key, kind in PARTS.items():
        if not isinstance(summary.get(key), kind | None):
            raise ConfigError(f"{origin} is damaged: its {key} is not a {kind.__name__}; remove it")
    scores = summary["scores"]
    protocols = [one.get("protocol") for one in scores.values() if isinstance(one, dict)]
    for part in (scores, summary.get("settings"), *protocols):
        if isinstance(part, dict) and len(part) > MOST:
            raise ConfigError(f"{origin} has more than {MOST} settings or scores; remove it")
    if any(level > DEEPEST for _, level in walk(summary)):
        raise ConfigError(f"{origin} is nested more than {DEEPEST} levels deep; remove it")
    return summary
