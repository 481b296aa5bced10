"""README's commands are what continuous integration runs."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_ci_runs_readmes_two_commands_to_the_letter():
    """Each line of README that makes an environment stands in .ci/run as a line of its own, and there are two."""
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    assert any("fit -c configs/digits.yaml" in command for command in commands)
    assert any("pytest" in command for command in commands)
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("python3 -m venv")) == sorted(commands)


def test_every_upper_bound_in_setup_cfg_has_its_reason():
    """A cap without a comment above it is a cap that nobody dares to lift."""
    lines = (ROOT / "setup.cfg").read_text().splitlines()
    capped = [
        i for i, line in enumerate(lines) if re.search(r"[a-z].*,<|<\d", line) and not line.strip().startswith("#")
    ]
    assert capped
    assert all(lines[i - 1].strip().startswith("#") for i in capped)


def test_the_wheel_takes_every_shipped_configuration():
    """setup.cfg lists a data folder for each folder under configs/."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    listed = {pattern.strip() for pattern in parser["options.data_files"].values()}
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"{folder}/*.yaml" for folder in folders} <= listed
