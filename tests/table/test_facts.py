"""Columns of facts, which are not scores, and blank cells of scores that a model cannot have."""

from tests.table.table_made import layout, printed, put, rows, score, summary

LAYOUT = """
columns: [fid, bits_per_dim/test, {score: parameters, spread: false}, nfe, seconds_per_1000_samples]
rows:
  - {label: diffusion, where: {model: DiffusionModule}}
  - {label: other, where: {model: Other}, without: [bits_per_dim/test]}
"""


def test_facts_are_means_over_seeds_and_what_a_model_cannot_have_is_blank(tmp_path, capsys):
    facts = [{"parameters": 271000, "seconds_per_1000_samples": seconds} for seconds in (2.0, 4.0)]
    for seed in (0, 1):
        scores = {"fid": score("fid", 5.0 + seed, nfe=10), "bits_per_dim/test": 3.0}
        put(tmp_path / f"runs/a{seed}", summary(seed, scores=scores, facts=facts[seed]))
    fast = {"seconds_per_1000_samples": 0.00414}
    put(tmp_path / "runs/b", summary(settings={"model": "Other"}, scores={"fid": 9.0}, facts=fast))
    found = rows(printed(capsys, tmp_path / "runs", "--layout", layout(tmp_path, LAYOUT), "--format", "markdown").out)
    assert found[0] == ["diffusion", "**5.50±0.71**", "**≤3.000±0.000**", "271000", "10±0", "3.000±1.414"]
    assert found[1][1:3] == ["9.00", ""] and found[1][3:] == ["no score", "1000", "0.0041"]


def test_summaries_without_facts_are_read_as_before(tmp_path, capsys):
    put(tmp_path / "a", summary(scores={"fid": 9.0}))
    text = printed(capsys, tmp_path, "--format", "markdown").out
    assert "parameters" not in text and "9.00" in text
