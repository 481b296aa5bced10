"""`lit-diffusion doctor`: what is wrong with a machine is said with its repair, and never by running what is wrong."""

import json
import os
import shlex
import subprocess
import sys
import warnings
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from lit_diffusion import memory
from lit_diffusion.cli.entry import dispatch
from lit_diffusion.doctor import command, installation, machine, services, weights
from lit_diffusion.doctor.finding import OK, PROBLEM, WARNING, ok, problem, warning
from lit_diffusion.doctor.installation import find_source, reinstall_command
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import inception
from lit_diffusion.runs import wandb_account

Usage = namedtuple("Usage", "total used free")
MODULES = """
import json, sys
from lit_diffusion import memory
from lit_diffusion.cli.entry import dispatch
try:
    dispatch(["doctor", "--json"])
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages that Python finds first: site(name, version, *what it requires, ...)."""
    folder = tmp_path / "site"
    folder.mkdir()

    def install(name: str, version: str | None, *requires: str, scripts: str = "", where: Path = folder) -> Path:
        info = where / f"{name.replace('-', '_')}-{version or 0}.dist-info"
        info.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", *(f"Requires-Dist: {one}" for one in requires)]
        lines += [f"Version: {version}"] if version else []
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        if scripts:
            (info / "entry_points.txt").write_text(f"[console_scripts]\n{scripts}\n")
        monkeypatch.syspath_prepend(where)
        return where

    return install


def by_subject(findings):
    return {one.subject: one for one in findings}


def run_doctor(*paths: Path, cwd: Path, options: tuple[str, ...] = ()):
    """The command in a process of its own: what it returned, its JSON, the names of the modules it had imported."""
    paths = (*paths, Path(installation.__file__).parents[2])  # the code under test, wherever it is installed from
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, *options, "-c", MODULES], capture_output=True, text=True, cwd=cwd, env=environment
    )
    return done.returncode, json.loads(done.stdout), json.loads(done.stderr.strip().splitlines()[-1])


# ---------------------------------------------------------------------------------------------------- packages


def test_every_package_that_the_metadata_declares_has_a_line():
    """The list is that of setup.cfg, without extras, and this environment satisfies it."""
    found = by_subject(installation.examine_packages())
    assert {"python", "lightning", "torch", "torchvision", "torchmetrics", "wandb", "torch-fidelity"} <= set(found)
    assert {"jsonargparse", "omegaconf"} <= set(found) and "optuna" not in found
    assert {one.level for one in found.values()} == {OK}
    assert found["lightning"].facts["needed"] == "<2.7,>=2.6.4"


def test_what_is_missing_or_does_not_fit_is_named_with_the_command_that_fixes_it(site):
    """Missing, too old, no version in the metadata, and a version that is none."""
    site("lit_diffusion", "0.1", "no-such-thing[all]>=3", "old<2", "hollow>=1", "odd>=1", 'absent; extra == "x"')
    site("old", "2.1")
    site("hollow", None)
    site("odd", "yesterday")
    found = by_subject(installation.examine_packages())
    assert found["no-such-thing"].text == "missing"
    assert shlex.split(found["no-such-thing"].repair) == [
        sys.executable,
        "-m",
        "pip",
        "install",
        "no-such-thing[all]>=3",
    ]
    assert found["old"].text == "2.1, needed <2" and shlex.split(found["old"].repair)[-1] == "old<2"
    assert "damaged" in found["hollow"].text and "--force-reinstall" in found["hollow"].repair
    assert {found[name].level for name in ("no-such-thing", "old", "hollow", "odd")} == {PROBLEM}
    assert "absent" not in found


def test_builds_between_releases_fit():
    """A nightly build of torch is accepted."""
    assert installation.is_compatible(">=2.4", "2.9.0a0+git1234") and installation.is_compatible(">=2.4", "2.9.0+cu128")
    assert not installation.is_compatible(">=2.4", "2.3.1+cu121")


def test_packages_that_do_not_fit_each_other_are_a_warning(site):
    """As a torchvision that was built for another torch."""
    site("lit_diffusion", "0.1", "engine>=1", "wheels>=1")
    site("engine", "2.0+cpu")
    site("wheels", "1.0", "engine==1.9", "somewhere-else==1")
    found = by_subject(installation.examine_packages())
    assert found["wheels"].level == WARNING and found["wheels"].text == "1.0 needs engine==1.9, installed is 2.0+cpu"
    assert found["engine"].level == OK


def test_an_interpreter_that_is_too_old_is_a_problem():
    assert installation.check_python(">=99").level == PROBLEM
    assert installation.check_python(">=3.10").level == OK


def test_without_metadata_of_its_own_it_says_how_to_install(monkeypatch):
    """As in a checkout that was never installed."""

    def nothing(name):
        raise installation.PackageNotFoundError(name)

    monkeypatch.setattr(installation, "distribution", nothing)
    (found,) = installation.examine_packages()
    assert found.level == WARNING and found.repair == reinstall_command()


def test_a_bare_interpreter_gets_a_list_of_all_that_is_missing(site, tmp_path):
    """Not even rich and packaging are there."""
    where = site("lit_diffusion", "0.1", "torch>=2.4", "rich>=13", 'absent; extra == "x"')
    status, answer, _ = run_doctor(where, cwd=tmp_path, options=("-S",))
    found = {one["subject"]: one for one in answer["findings"]["packages"]}
    assert status == 1 and set(found) == {"packaging", "torch", "rich"}
    assert found["torch"]["repair"].endswith("pip install 'torch>=2.4'")


# --------------------------------------------------------------------------------------------- malicious uploads


@pytest.mark.parametrize("name", ["lightning", "pytorch-lightning"])
@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_a_malicious_upload_is_named_loudly_with_all_that_must_be_done(site, name, version):
    """Uninstall, replace credentials, install a clean version."""
    site(name, version)
    (found,) = installation.find_malicious()
    assert found.level == PROBLEM and f"MALICIOUS: {name} {version}" in found.text
    for part in ("uninstall -y lightning pytorch-lightning", "replace every password", "lightning>=2.6.6,<2.7"):
        assert part in found.repair
    assert [one.subject for one in installation.examine_packages()].count(name) == 1


@pytest.mark.parametrize("version", ["2.6.1", "2.6.4", "2.6.6"])
def test_other_versions_are_not_accused(site, version):
    site("lightning", version)
    assert installation.find_malicious() == []


def test_malicious_code_is_not_run_nor_anything_next_to_it(site, tmp_path):
    """Exit status 1, and no module of the environment that a run would import has been."""
    where = site("lightning", "2.6.3")
    for name in ("lightning", "pytorch_lightning"):
        (where / name).mkdir()
        (where / name / "__init__.py").write_text(f"open({str(tmp_path / 'stolen')!r}, 'w')")
    status, answer, modules = run_doctor(where, cwd=tmp_path)
    assert status == 1 and answer["status"] == PROBLEM
    assert "MALICIOUS" in answer["findings"]["packages"][0]["text"]
    assert not (tmp_path / "stolen").exists()
    assert not {"lightning", "pytorch_lightning", "torch", "torchmetrics", "wandb"} & set(modules)
    assert "a malicious package is installed" in answer["findings"]["devices"][0]["text"]


def test_a_malicious_upload_that_another_version_shadows_is_found(site, tmp_path):
    """It is one change of PATH away from being imported."""
    site("lightning", "2.6.3", where=tmp_path / "behind")
    site("lightning", "2.6.6")
    assert [one.facts["version"] for one in installation.find_malicious()] == ["2.6.3"]


def test_a_healthy_machine_is_examined_without_importing_lightning(tmp_path):
    """And nothing is left in the folder where the command ran."""
    status, answer, modules = run_doctor(cwd=tmp_path)
    assert status == 0 and answer["status"] in (OK, WARNING)
    assert "torch" in modules and not {"lightning", "pytorch_lightning"} & set(modules)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------- who owns `lightning`


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Makes folders of commands: environment("here", module) with a script that calls that module's function."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "here/bin/python"))

    def make(name: str, module: str | None, first: str = "#!{python}") -> Path:
        folder = tmp_path / name / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        if module:
            text = (
                f"{first.format(python=folder / 'python3')}\nimport re\nimport sys\nfrom {module} import main\nmain()\n"
            )
            (folder / "lightning").write_text(text)
            (folder / "lightning").chmod(0o755)
        return folder

    def owner(*path: Path):
        monkeypatch.setenv("PATH", os.pathsep.join(map(str, path)))
        monkeypatch.setattr(installation, "FALLBACK", "python -m lit_diffusion")
        (found,) = installation.examine_command()
        return found

    return SimpleNamespace(make=make, owner=owner)


LONG = "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''"


@pytest.mark.parametrize("first", ["#!{python}", LONG], ids=["short", "long"])
def test_our_own_command_is_ok(environment, first):
    folder = environment.make("here", "lit_diffusion.cli", first)
    found = environment.owner(folder)
    assert found.level == OK and found.facts["owner"] == "lit_diffusion"


def test_our_own_command_by_a_link_elsewhere_is_ok(environment, tmp_path):
    """As ~/.local/bin holds links to the commands of an environment."""
    folder = environment.make("here", "lit_diffusion.cli")
    links = tmp_path / "links"
    links.mkdir()
    (links / "lightning").symlink_to(folder / "lightning")
    assert environment.owner(links).level == OK


def test_lightning_sdk_over_our_command_is_named_with_the_way_back(environment, site):
    """It was installed later and has written its own script over ours."""
    site("lightning-sdk", "1.0", scripts="lightning = lightning_sdk.cli.entrypoint:main")
    folder = environment.make("here", "lightning_sdk.cli.entrypoint")
    found = environment.owner(folder)
    assert found.level == WARNING and "belongs to lightning-sdk" in found.text
    assert "--force-reinstall --no-deps" in found.repair and "python -m lit_diffusion" in found.repair


def test_lightning_sdk_under_our_command_is_ok_and_said(environment, site):
    site("lightning-sdk", "1.0", scripts="lightning = lightning_sdk.cli.entrypoint:main")
    found = environment.owner(environment.make("here", "lit_diffusion.cli"))
    assert found.level == OK and "passes on the commands of lightning-sdk" in found.text


def test_the_command_of_another_environment_is_named(environment):
    """PATH finds it first, though ours is there."""
    ours, theirs = (
        environment.make("here", "lit_diffusion.cli"),
        environment.make("there", "lit_diffusion.cli"),
    )
    found = environment.owner(theirs, ours)
    assert found.level == WARNING and "belongs to another environment" in found.text
    assert str(ours) in found.repair and "python -m lit_diffusion" in found.repair


def test_a_command_that_is_not_on_path_or_not_there_is_named(environment, tmp_path):
    empty = environment.make("empty", None)
    assert "command not found" in environment.owner(empty).text
    environment.make("here", "lit_diffusion.cli")
    assert "is not on PATH" in environment.owner(empty).text
    (tmp_path / "here/bin/activate").touch()
    assert f"source {tmp_path / 'here/bin/activate'}" in environment.owner(empty).repair


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({"url": "file:///my%20code/lit", "dir_info": {"editable": True}}, ["-e", "/my code/lit"]),
        ({"url": "file:///code/lit", "dir_info": {}}, ["/code/lit"]),
        ({"url": "https://host/lit.git", "vcs_info": {"vcs": "git"}}, ["git+https://host/lit.git"]),
    ],
)
def test_the_package_is_installed_again_from_where_it_came(site, origin, expected):
    """Not by its name from an index that may hold somebody else's package."""
    where = site("lit_diffusion", "0.1")
    (where / "lit_diffusion-0.1.dist-info/direct_url.json").write_text(json.dumps(origin))
    assert find_source() == expected


# ------------------------------------------------------------------------------------------- machine and devices


def test_cores_memory_and_threads_are_told(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = by_subject(machine.examine_machine())
    assert found["CPU"].level == OK and "OMP_NUM_THREADS=1" in found["CPU"].text
    assert found["memory"].facts["bytes"] > 1e8
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    assert machine.check_processor().level == WARNING


def test_the_memory_of_a_job_is_the_least_of_its_groups(tmp_path, monkeypatch):
    """SLURM limits the group of the job, not that of the process in it."""
    step = tmp_path / "groups/job_7/step_0"
    step.mkdir(parents=True)
    (step / "memory.max").write_text("max\n")
    (step.parent / "memory.max").write_text(f"{10**7}\n")
    (tmp_path / "own").write_text("0::/job_7/step_0\n")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "own")
    assert machine.check_memory().facts["bytes"] == 10**7


def fake_torch(count=0, said=None, cuda="12.8", fails=None):
    """As much of torch as the doctor asks of it."""

    def is_available():
        if said:
            warnings.warn(said, stacklevel=1)
        return count > 0

    def ones(n, device):
        if fails:
            raise RuntimeError(fails)
        return SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: n))

    return SimpleNamespace(
        __version__="2.9.0",
        version=SimpleNamespace(cuda=cuda, hip=None),
        ones=ones,
        cuda=SimpleNamespace(
            is_available=is_available,
            device_count=lambda: count,
            get_device_properties=lambda index: SimpleNamespace(name="H200"),
            mem_get_info=lambda index: (100 * 10**9, 150 * 10**9),
        ),
        distributed=SimpleNamespace(is_available=lambda: True, is_nccl_available=lambda: False),
    )


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "find_driver", lambda: "470.57")


TOO_OLD = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."


def test_a_driver_too_old_for_torch_is_a_finding_and_no_traceback(driver):
    """torch warns and sees no GPU; its words are kept, and no warning reaches the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = machine.check_cuda(fake_torch(said=TOO_OLD))
    assert found.level == WARNING and "470.57" in found.text and "too old" in found.text
    assert "newer driver" in found.repair


def test_a_gpu_that_does_not_compute_is_a_finding(driver):
    """As one that this torch was not built for."""
    (found,) = machine.check_cuda(fake_torch(count=1, fails="CUDA error: no kernel image is available"))
    assert found.level == WARNING and "no kernel image" in found.text


def test_gpus_have_a_line_each(driver):
    first, second = machine.check_cuda(fake_torch(count=2))
    assert (first.level, first.subject, second.subject) == (OK, "GPU 0", "GPU 1")
    assert first.text == "H200, 150 GB, 100 GB free, driver 470.57, torch's CUDA 12.8"


def test_a_torch_without_cuda_next_to_a_driver_is_a_warning(driver):
    (found,) = machine.check_cuda(fake_torch(cuda=None))
    assert found.level == WARNING and "built for CPUs" in found.text


def test_no_gpu_and_hidden_ones_are_fine(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [one.level for one in machine.check_cuda(fake_torch())] == [OK]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(machine, "find_driver", lambda: None)
    assert [one.level for one in machine.check_cuda(fake_torch())] == [OK]


def test_several_gpus_without_nccl_are_a_warning():
    assert machine.check_nccl(fake_torch(), 2).level == WARNING
    assert machine.check_nccl(fake_torch(), 1).level == OK


def test_a_torch_that_cannot_be_imported_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch")
    (found,) = machine.examine_devices()
    assert found.level == PROBLEM and "libcudart" in found.text and "install" in found.repair


@pytest.mark.parametrize(
    "line",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 2024\nGCC version: 12.3.0\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build  (root@host)\n",
    ],
)
def test_the_drivers_version_is_read_from_its_kernel_module(line, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    (tmp_path / "version").write_text(line)
    assert machine.find_driver() in ("550.54.15", "570.124.06")


# ------------------------------------------------------------------------------------------------------ folders


def test_little_room_is_a_warning_for_each_folder(tmp_path, monkeypatch):
    """Below 1 GB; none of the folders need exist."""
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 999_999_999))
    found = list(machine.examine_folders(tmp_path / "new/runs"))
    assert [one.level for one in found] == [WARNING] * 3
    assert "1.0 GB free" in found[0].text and "--run.dir" in found[0].repair
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: Usage(10**12, 0, 10**9))
    assert {one.level for one in machine.examine_folders(tmp_path / "new/runs")} == {OK}


def test_a_run_folder_that_cannot_be_written_is_a_problem_in_the_words_of_a_run(tmp_path):
    """Here a file stands in its way, which stops administrators too."""
    (tmp_path / "file").touch()
    found = machine.check_writable("runs", tmp_path / "file/runs")
    assert found.level == PROBLEM
    assert found.text == f"cannot write {tmp_path / 'file/runs'} (Not a directory)" and "run.dir" in found.repair


def test_a_full_disk_is_a_problem(tmp_path, monkeypatch):
    def full(dir):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", full)
    found = machine.check_writable("runs", tmp_path)
    assert found.level == PROBLEM and "no space left" in found.text


# ------------------------------------------------------------------------------------------------------ weights


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_missing_inception_weights_are_a_warning_with_the_advice_of_the_scores(checkpoints):
    """Address, name, SHA-256 and folder."""
    found = weights.check_inception()
    assert found.level == WARNING and found.repair == f"without a network, {inception.manual_download()}"
    for part in ("https://", inception.FILE, inception.SHA256, str(checkpoints)):
        assert part in found.repair


def test_damaged_inception_weights_are_a_problem(checkpoints):
    (checkpoints / inception.SAME_FILES[1]).write_bytes(b"half a file")
    found = weights.check_inception()
    assert found.level == PROBLEM and "is damaged" in found.text and "remove it" in found.repair


def test_right_inception_weights_are_ok(checkpoints, monkeypatch):
    (checkpoints / inception.FILE).write_bytes(b"")
    monkeypatch.setattr(inception, "SHA256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert weights.check_inception().level == OK


def test_the_classifiers_of_the_package_are_loaded(monkeypatch):
    found = weights.check_classifiers()
    assert found.level == OK and len(found.facts["sha256"]) == 3
    monkeypatch.setattr("lit_diffusion.metrics.MNISTFeatures.expected", "0" * 64)
    found = weights.check_classifiers()
    assert found.level == PROBLEM and "is damaged" in found.text and found.repair == reinstall_command()
    monkeypatch.setattr("lit_diffusion.metrics.DigitsFeatures.file", "gone.safetensors")
    assert "gone.safetensors cannot be read" in weights.check_classifiers().text


# ----------------------------------------------------------------------------------------------- W&B and SLURM


def test_wandb_without_an_account_is_a_warning_in_the_words_of_a_run(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(wandb_account.wandb, "login", lambda prompt: False)
    (found,) = services.examine_wandb()
    assert found.level == WARNING and "no account" in found.text and "wandb login" in found.repair
    monkeypatch.setattr(wandb_account.wandb, "login", lambda prompt: True)
    assert [one.facts["account"] for one in services.examine_wandb()] == [True]


def test_wandb_offline_needs_no_account(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (found,) = services.examine_wandb()
    assert found.level == OK and "WANDB_MODE=offline" in found.text


def test_a_slurm_job_is_described_as_far_as_the_environment_does(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert [one.text for one in services.examine_slurm()] == ["not inside a job"]
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_RESTART_COUNT": "1", "SBATCH_SIGNAL": "USR1@90"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    (found,) = services.examine_slurm()
    for part in ("job 7", "2 tasks", "restarted 1 times", "signal USR1@90"):
        assert part in found.text


# ------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def doctor(monkeypatch, capsys):
    """The command on given findings: exit status and what is printed."""

    def run(*findings, arguments=()):
        monkeypatch.setattr(command, "examine_all", lambda run_dir: {"part": list(findings)})
        try:
            dispatch(["doctor", *arguments])
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_problems_alone_change_the_exit_status(doctor):
    fine, odd, bad = ok("a", "good"), warning("b", "odd", "do this"), problem("c", "broken", "do that")
    assert [doctor(*found)[0] for found in ([], [fine], [fine, odd], [fine, odd, bad])] == [0, 0, 0, 1]


def test_every_level_stands_as_a_word_and_every_repair_in_a_line_of_its_own(doctor):
    long = "pip install " + "x" * 300
    _, text = doctor(ok("a", "good"), warning("b", "odd [1]", long), problem("c", "broken", "do that"))
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[:3]] == [OK, WARNING, PROBLEM]
    assert f"  {long}" in lines and "  do that" in lines
    assert lines.index("  do that") < lines.index(f"  {long}") and lines[-1] == "1 problem, 1 warning"


@pytest.mark.parametrize("there", [True, False])
def test_a_terminal_gets_a_table_and_plain_lines_where_rich_is_missing(doctor, monkeypatch, there):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    if not there:
        monkeypatch.setitem(sys.modules, "rich.table", None)
    _, text = doctor(ok("a", "good"), problem("c", "[broken]", "do that"))
    assert "ok" in text and "[broken]" in text and text.endswith("  do that\n\n1 problem\n")


def test_json_holds_the_same(doctor):
    status, text = doctor(ok("a", "good", bytes=3), problem("c", "broken", "do that"), arguments=["--json"])
    answer = json.loads(text)
    assert status == 1 and answer["status"] == PROBLEM
    first, second = answer["findings"]["part"]
    assert first == {"subject": "a", "level": OK, "text": "good", "repair": None, "facts": {"bytes": 3}}
    assert second["repair"] == "do that"


def test_a_part_that_fails_is_a_finding_and_the_others_are_still_told(tmp_path, monkeypatch):
    def broken():
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(weights, "examine_weights", broken)
    sections = command.examine_all(tmp_path)
    assert [one.level for one in sections["weights"]] == [WARNING]
    assert "nms does not exist" in sections["weights"][0].text
    assert sections["SLURM"] and sections["folders"]


def test_the_run_folder_is_that_of_run_dir(tmp_path, capsys):
    """The whole command, as a user types it, with a problem and its exit status."""
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as end:
        dispatch(["doctor", f"--run.dir={tmp_path / 'file'}", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert end.value.code == 1
    assert answer["findings"]["folders"][0]["facts"]["path"] == str(tmp_path / "file")


def test_an_option_that_is_none_is_one_line():
    with pytest.raises(ConfigError, match="lit-diffusion doctor: --fix: no such option; see .* --help"):
        dispatch(["doctor", "--fix"])
