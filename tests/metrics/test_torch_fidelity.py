"""Our numbers are torch-fidelity's, on the same files, from the same weights."""

import json

import pytest
import torch_fidelity

from lit_diffusion.cli.entry import dispatch
from lit_diffusion.data.image_set import open_images
from lit_diffusion.metrics import InceptionFeatures, TorchFidelity, compare
from lit_diffusion.metrics.reference_statistics import compute_statistics
from tests.metrics.made import SCORES, inception_file, write_pictures

THEIRS = {
    "fid": ("frechet_inception_distance", None),
    "inception_score": ("inception_score_mean", "inception_score_std"),
    "kid": ("kernel_inception_distance_mean", "kernel_inception_distance_std"),
    "precision": ("precision", None),
    "recall": ("recall", None),
}
COUNT, SUBSET, BATCH = 26, 19, 11  # two batches and a rest


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(inception_file(tmp_path_factory))


@pytest.fixture(autouse=True)
def batches(monkeypatch):
    monkeypatch.setattr(InceptionFeatures, "batch_size", BATCH)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Photographs with noise, and others without."""
    root = tmp_path_factory.mktemp("pictures")
    return [str(write_pictures(root / str(noise), COUNT, 32, noise, seed=noise)) for noise in (40, 0)]


@pytest.fixture(scope="module")
def theirs(folders, weights):
    """What torch-fidelity says: {name: (value, standard deviation)}."""
    found = torch_fidelity.calculate_metrics(
        input1=folders[0],
        input2=folders[1],
        cuda=False,
        batch_size=BATCH,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=SUBSET,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=weights,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    return {name: (found[value], std and found[std]) for name, (value, std) in THEIRS.items()}


@pytest.mark.slow
def test_in_the_same_memory_layout_every_score_is_torch_fidelitys_to_1e_6(folders, weights, theirs):
    """KID to 1e-5, because torch-fidelity sums its kernel in float32."""
    extractor, protocol = InceptionFeatures(weights, channels_last=False), TorchFidelity(kid_subset_size=SUBSET)
    samples, reference = (compute_statistics(open_images(f), extractor, protocol, keep_logits=True) for f in folders)
    ours = compare(samples, {"reference": reference}, protocol, extractor)
    assert ours.keys() == SCORES
    for name, (value, std) in theirs.items():
        rel = 1e-5 if name == "kid" else 1e-6
        assert ours[name].value == pytest.approx(value, rel=rel), name
        assert ours[name].std == (std and pytest.approx(std, rel=rel)), name


@pytest.mark.slow
def test_the_command_in_the_default_layout_gives_torch_fidelitys_scores_to_1e_4(folders, weights, theirs, capsys):
    dispatch(["score", *folders, "--weights", weights, "--kid-subset-size", str(SUBSET), "--json"])
    ours = json.loads(capsys.readouterr().out)
    assert ours.keys() == SCORES
    for name, (value, std) in theirs.items():
        assert ours[name]["value"] == pytest.approx(value, rel=1e-4), name
        assert ours[name]["std"] == (std and pytest.approx(std, rel=1e-4)), name


@pytest.mark.slow
def test_the_scores_that_are_compared_are_not_trivial(theirs):
    """Features that hardly vary would make any two implementations agree."""
    assert theirs["fid"][0] > 1
    assert theirs["inception_score"][0] > 1.1
    assert theirs["kid"][0] > 3 * theirs["kid"][1] > 0
    assert 0 < theirs["precision"][0] < 1 and 0 < theirs["recall"][0] < 1
