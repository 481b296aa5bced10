"""What an extractor gets to see, and which requests cannot be met."""

import pytest
import torch

from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import DDPMRelease, Score, TorchFidelity
from lit_diffusion.pixels import to_float


def floats():
    """Values of samples, of which some are beyond the range."""
    return 1.3 * (2 * torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)) - 1)


def test_ddpm_release_clips_to_the_range_and_does_not_round():
    """Ho et al. 2020's evaluation feeds floats to Inception."""
    x = floats()
    pixels = DDPMRelease().pixels(x)
    assert torch.allclose(pixels, x.clamp(-1, 1) * 127.5 + 127.5, atol=1e-4)
    assert pixels.min() == 0 and pixels.max() == 255
    assert (pixels - pixels.round()).abs().max() > 0.49


def test_torch_fidelity_rounds_to_the_nearest_of_8_bits():
    """As a PNG file would hold it; truncation darkens every image by half a level."""
    x = floats()
    pixels = TorchFidelity().pixels(x)
    exact = x.double().clamp(-1, 1) * 127.5 + 127.5
    assert pixels.dtype == torch.float32 and torch.equal(pixels, pixels.round())
    assert (pixels - exact).abs().max() <= 0.5 + 1e-5


def test_all_256_levels_pass_both_protocols_unchanged():
    levels = torch.arange(256).reshape(1, 1, 16, 16)
    assert torch.equal(TorchFidelity().pixels(to_float(levels, 256)), levels.float())
    assert torch.allclose(DDPMRelease().pixels(to_float(levels, 256)), levels.float(), atol=1e-4)


@pytest.mark.parametrize("protocol", [TorchFidelity, DDPMRelease])
def test_pixels_leave_the_images_as_they_are(protocol):
    x = floats()
    protocol().pixels(x)
    assert torch.equal(x, floats())


def test_ddpm_release_compares_with_both_splits_and_torch_fidelity_with_the_training_images():
    assert (TorchFidelity().references, DDPMRelease().references) == (("train",), ("train", "test"))


def test_what_statistics_depend_on_is_in_the_key_and_nothing_else():
    """IS, KID and neighbours come after the statistics: another number of splits needs no new pass."""
    key = TorchFidelity().key
    assert key == TorchFidelity(splits=3, kid_subsets=7, kid_subset_size=5, neighbours=1, seed=3).key
    assert len({key, DDPMRelease().key, TorchFidelity(max_features=100).key}) == 3


def test_protocols_say_what_they_do_to_pixels():
    assert TorchFidelity().describe() == {"protocol": "TorchFidelity", "quantisation": "8 bits"}
    assert DDPMRelease().describe() == {"protocol": "DDPMRelease", "quantisation": "none, clipped to [-1, 1]"}


@pytest.mark.parametrize("neighbours", [1, 2, 3, 10])
def test_the_images_that_are_kept_always_suffice_for_the_neighbours(neighbours):
    """Every n-th of N leaves more than `neighbours`, whatever N."""
    protocol = TorchFidelity(neighbours=neighbours, max_features=2 * (neighbours + 1))
    for count in range(neighbours + 1, 300):
        assert neighbours < len(range(0, count, protocol.stride(count))) <= protocol.max_features


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": 0}, "splits: expected 1 or more, got 0"),
        ({"kid_subsets": -1}, "kid_subsets: expected 0 or more, got -1"),
        ({"kid_subset_size": 1}, "kid_subset_size: expected 2 or more, got 1"),
        ({"neighbours": -1}, "neighbours: expected 0 or more, got -1"),
        ({"max_features": 1}, "max_features: expected 2 or more, got 1"),
        ({"max_features": 7}, "max_features: expected 8 or more for 3 neighbours, got 7"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
    ],
)
def test_numbers_that_measure_nothing_are_refused(settings, message):
    with pytest.raises(ConfigError) as error:
        TorchFidelity(**settings)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("settings", "samples", "reference", "message"),
    [
        ({}, 9, 100, "expected at least 10 samples, one for each split of IS, got 9; use more samples or fewer splits"),
        ({"splits": 1}, 3, 100, "expected at least 4 samples, got 3: .* 3 neighbours; use more images"),
        ({"splits": 1}, 100, 3, r"expected at least 4 reference images \(x:train\), got 3: .*; use more images"),
        (
            {"splits": 1, "neighbours": 0},
            1,
            100,
            "expected at least 2 samples, got 1: FID needs 2, .*; use more images",
        ),
        ({"neighbours": 0}, 100, 1, r"expected at least 2 reference images \(x:train\), got 1: .*; use more images"),
    ],
)
def test_too_few_images_are_refused_in_a_line(settings, samples, reference, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        TorchFidelity(**settings).check(samples, reference, "x:train")


def test_as_few_images_as_a_score_needs_are_taken():
    TorchFidelity(splits=4).check(4, 4, "x:train")
    TorchFidelity(splits=2, neighbours=0).check(2, 2, "x:train")


@pytest.mark.parametrize(
    ("value", "std", "text"),
    [
        (3.1686, None, "3.169"),
        (9.46123, 0.1123, "9.46 ± 0.11"),
        (0.00812, 0.00219, "0.0081 ± 0.0022"),
        (-421.3, 202.2, "-421 ± 202"),
        (1.0, 0.0, "1.0000 ± 0.0000"),
        (None, None, "diverged"),
    ],
)
def test_a_score_is_written_to_two_digits_of_its_spread(value, std, text):
    assert str(Score(value, std)) == text
