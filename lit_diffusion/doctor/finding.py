"""What the doctor reports about one thing."""

import shlex
import shutil
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from lit_diffusion.errors import ConfigError

OK, WARNING, PROBLEM = "ok", "warning", "problem"  # a problem prevents work, a warning does not
GB = 1e9  # bytes


@dataclass(frozen=True)
class Finding:
    """subject: what was examined. level: ok, warning or problem. text: what was found, in one line. repair: what to
    do, in one line. facts: the same for programs, JSON values only.
    """

    subject: str
    level: str
    text: str
    repair: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The finding as `--json` prints it."""
        return {
            "subject": self.subject,
            "level": self.level,
            "text": self.text,
            "repair": self.repair or None,
            "facts": self.facts,
        }


def ok(subject: str, text: str, **facts: Any) -> Finding:
    return Finding(subject, OK, text, facts=facts)


def warning(subject: str, text: str, repair: str, **facts: Any) -> Finding:
    return Finding(subject, WARNING, text, repair, facts)


def problem(subject: str, text: str, repair: str, **facts: Any) -> Finding:
    return Finding(subject, PROBLEM, text, repair, facts)


def from_error(subject: str, level: str, error: ConfigError, **facts: Any) -> Finding:
    """A ConfigError as a finding; its message is `what is wrong; what to do`."""
    text, _, repair = str(error).partition("; ")
    return Finding(subject, level, text, repair, facts)


def pip_command(command: str, *arguments: str) -> str:
    """The command line of pip for this environment, or of uv if only uv is available."""
    if find_spec("pip") is None and shutil.which("uv"):
        return shlex.join(["uv", "pip", command, "--python", sys.executable, *arguments])
    return shlex.join([sys.executable, "-m", "pip", command, *arguments])
