import pytest
import torch
from sklearn.datasets import load_digits

from lit_diffusion.data import Digits
from lit_diffusion.data.digits import stratified
from lit_diffusion.errors import ConfigError


@pytest.fixture(scope="module")
def digits():
    data = Digits(batch_size=100)
    data.setup()
    return data


def test_train_and_test_are_the_1797_scans_each_once_with_its_label(digits):
    file = load_digits()
    expected = sorted((*image.flatten().astype(int), label) for image, label in zip(file.images, file.target))
    images = torch.cat([digits.images(split) for split in ("train", "test")])
    labels = torch.cat([digits.labels(split) for split in ("train", "test")])
    assert digits.sizes == {"train": 1500, "test": 297} and digits.image_shape == images.shape[1:] == (1, 8, 8)
    assert sorted((*image.flatten().tolist(), label) for image, label in zip(images, labels.tolist())) == expected
    assert images.max() + 1 == digits.num_levels == 17


def test_each_digit_has_its_share_of_the_test_set_to_within_one(digits):
    counts = {split: torch.bincount(digits.labels(split)) for split in ("train", "test")}
    share = (counts["train"] + counts["test"]) * 297 / 1797
    assert (counts["test"] - share).abs().max() < 1


def test_both_halves_of_the_file_are_in_the_test_set():
    """The writers change half-way: a test set of the file's end would be one of other hands."""
    chosen = stratified(torch.from_numpy(load_digits().target), 297).nonzero().flatten()
    assert abs((chosen < 1797 / 2).double().mean() - 0.5) < 0.1


def test_the_split_does_not_depend_on_the_seed_of_the_run(digits):
    other = Digits(batch_size=100, seed=12345)
    other.setup()
    assert torch.equal(other.images("test"), digits.images("test"))


def test_the_split_is_the_one_that_scores_were_published_on(digits):
    """A change of this sum makes every earlier digits score incomparable."""
    weights = torch.arange(1, 298)[:, None, None, None]
    assert (digits.images("test").long() * weights).sum().item() == 13650121


def test_stratified_takes_exactly_the_count_from_uneven_classes():
    labels = torch.tensor([0] * 50 + [1] * 7 + [2] * 3)
    for count in (0, 1, 30, 59, 60):
        chosen = stratified(labels, count)
        assert chosen.sum() == count
        share = torch.bincount(labels) * count / 60
        assert (torch.bincount(labels[chosen], minlength=3) - share).abs().max() < 1


def test_the_run_s_seed_orders_the_batches_unless_the_data_have_their_own(digits, monkeypatch):
    def first(seed):
        data = Digits(batch_size=50, seed=seed)
        data.setup()
        return next(iter(data.train_dataloader()))

    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    of_run, own = first(None), first(3)
    assert torch.equal(of_run, first(7)) and not torch.equal(of_run, own)
    monkeypatch.setenv("PL_GLOBAL_SEED", "8")
    assert not torch.equal(first(None), of_run) and torch.equal(first(3), own)


@pytest.mark.parametrize("argument", ["batch_size", "eval_batch_size"])
def test_an_empty_batch_is_refused(argument):
    with pytest.raises(ConfigError, match=f"^{argument}: expected 1 or more, got 0$"):
        Digits(**{"batch_size": 10, argument: 0})


def test_a_batch_larger_than_the_training_set_is_refused_before_a_fit():
    with pytest.raises(ConfigError, match="^batch_size: expected 1 to 1500, .*; got 1501$"):
        Digits(batch_size=1501).setup("fit")
    Digits(batch_size=1501).setup("test")
