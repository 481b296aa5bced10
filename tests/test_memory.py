"""The memory of a container or a job: its limit is what the guard, the command line and the doctor go by."""

import platform
import re
import resource
import subprocess
import sys

import pytest

from lit_diffusion import memory
from lit_diffusion.doctor.machine import check_memory
from lit_diffusion.errors import ConfigError
from lit_diffusion.memory import machine_memory, usable_memory
from tests.conftest import DIGITS, ROOT

GIB = 2**30


@pytest.fixture
def limit(tmp_path, monkeypatch):
    """Puts this process into the control group job_7/step_0: limit(step, job, root) in bytes, or "max" for none."""

    def fake(step: int | str, job: int | str = "max", root: int | str = "max") -> None:
        groups = tmp_path / "groups"
        (groups / "job_7/step_0").mkdir(parents=True)
        for folder, value in ((groups, root), (groups / "job_7", job), (groups / "job_7/step_0", step)):
            (folder / "memory.max").write_text(f"{value}\n")
        (tmp_path / "own").write_text("0::/job_7/step_0\n")
        monkeypatch.setattr(memory, "GROUPS", groups)
        monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "own")

    return fake


@pytest.mark.parametrize(
    "groups",
    [(GIB // 4, "max", "max"), ("max", GIB // 4, "max"), ("max", "max", GIB // 4), (GIB // 4, GIB // 2, GIB)],
    ids=["own group", "enclosing group", "container", "least of all"],
)
def test_usable_memory_is_the_least_limit_of_the_groups_around_this_process(limit, groups):
    limit(*groups)
    assert usable_memory() == GIB // 4 < machine_memory()


def test_without_a_limit_the_machine_is_usable(limit, monkeypatch, tmp_path):
    """Also where a limit is larger than the machine, and where the system has no control groups."""
    limit("max", machine_memory() * 2)
    assert usable_memory() == machine_memory()
    monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "none")
    assert usable_memory() == machine_memory()


def test_settings_larger_than_a_container_but_not_the_machine_are_refused_before_they_are_allocated(
    limit, command, tmp_path, capsys
):
    """3 x 3 convolutions of 512 channels and their kin: hundreds of MB, of which the machine has plenty."""
    limit("max", 200 * 10**6)
    with pytest.raises(ConfigError) as refusal:
        command("fit", "-c", DIGITS, "--trainer.logger=false", "--model.reverse.network.width=512")
    message = str(refusal.value)
    asked = float(re.search(r"ask for ([\d.,]+) GiB", message)[1].replace(",", ""))
    assert "\n" not in message and "0.2 GiB" in message and "use smaller sizes" in message
    assert asked * GIB < machine_memory()
    assert not list((tmp_path / "runs").glob("*"))


def test_the_doctor_reports_the_limit_that_the_guard_enforces(limit):
    limit("max", 10**9)
    found = check_memory()
    assert found.facts["bytes"] == usable_memory() == 10**9
    assert found.text.startswith(f"1.0 GB of {machine_memory() / 1e9:.1f} GB")


BLOCKS = """
import resource
from lit_diffusion.memory import keep_freed_memory

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        [bytes(1).ljust(2**23, b"x") for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

taken = count_faults()
keep_freed_memory()
count_faults()
print(taken, count_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such option")
def test_freed_blocks_are_kept_and_not_delivered_again_page_by_page():
    """Eight of 8 MiB, ten times."""
    process = subprocess.run([sys.executable, "-c", BLOCKS], cwd=ROOT, capture_output=True, text=True, check=True)
    taken, kept = map(int, process.stdout.split())
    pages = 8 * 2**23 // resource.getpagesize()
    assert taken > 5 * pages and kept < pages
