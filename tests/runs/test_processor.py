"""Processors are asked for their bf16 units, and a run in bf16 without them is warned."""

import pytest

from lit_diffusion.doctor import machine
from lit_diffusion.runs import processor
from tests.conftest import TINY

X86 = "processor\t: 0\nflags\t\t: fpu sse2 avx2 {}\nbugs\t\t: none\n\nprocessor\t: 1\n"


@pytest.fixture
def cpu_info(tmp_path, monkeypatch):
    """Writes what Linux says of the processor."""

    def write(text: str) -> None:
        (tmp_path / "cpuinfo").write_text(text)

    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    return write


@pytest.mark.parametrize(
    ("text", "units", "times", "said"),
    [
        (X86.format("avx512f avx512_bf16"), "avx512_bf16", 1, "avx512_bf16: -c configs/speed/cpu.yaml"),
        (X86.format("avx512f avx512_bf16 amx_bf16"), "amx_bf16", 1, "amx_bf16: -c configs/speed/cpu.yaml"),
        ("Features\t: fp asimd bf16\n", "bf16", 1, "bf16: -c configs/speed/cpu.yaml"),
        (X86.format("avx512f"), "", 2, "no units in the processor: --trainer.precision=bf16-mixed takes 2 times"),
        (X86.format(""), "", 13, "no units in the processor: --trainer.precision=bf16-mixed takes 13 times"),
        ("no flags here\n", "", 1, "not known"),
    ],
)
def test_units_for_bf16_are_those_that_linux_names(cpu_info, text, units, times, said):
    cpu_info(text)
    assert (processor.bf16_units(), processor.bf16_slowdown()) == (units, times)
    found = machine.check_bf16()
    assert found.text.startswith(said) and found.facts == {"units": units or None}


def test_elsewhere_nothing_is_known(cpu_info):
    assert (processor.bf16_units(), processor.bf16_slowdown()) == ("", 1)


@pytest.mark.parametrize(("precision", "warned"), [("bf16-mixed", True), ("32-true", False)])
def test_a_run_in_bf16_without_units_is_warned_of_its_time(cpu_info, parse, capsys, precision, warned):
    cpu_info(X86.format("avx512f"))
    parse(*TINY, f"--trainer.precision={precision}")
    said = (
        "trainer.precision: this processor has no bf16 units (none of amx_bf16, avx512_bf16, bf16): a step takes about "
        "2 times as long as with 32-true\n"
    )
    assert (said in capsys.readouterr().err) == warned
