"""docs/python.md, and the three lines of README: their code runs as it stands, from the first block to the last."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/python.md"


def test_every_block_of_the_page_runs(toy_run, capsys):
    toy_run("--trainer.max_steps=6", name="digits")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
        for line in block.splitlines():  # shapes that the page states are those of the values
            if stated := re.search(r"^([^#]*\S)  # (\(\d[\d, ]*\))", line):
                value = names[stated[1].split(" = ")[0]] if " = " in stated[1].split("(")[0] else eval(stated[1], names)
                assert tuple(value.shape) == eval(stated[2]), line
    assert "digits-classifier" in capsys.readouterr().out
    assert names["quick"].folder.name.startswith("digits-quick")


def test_the_lines_of_readme_run(toy_run, capsys):
    toy_run("--trainer.max_steps=6", "--trainer.val_check_interval=2", "--checkpoint.every_n_steps=2", name="NAME")
    (block,) = re.findall(r"```python\n(.*?)```", (PAGE.parents[1] / "README.md").read_text(), re.DOTALL)
    exec(block, {})
    assert "fid" in capsys.readouterr().out
