"""The reverse model: what the network is given, what is clipped, and where gradients go."""

import pytest
import torch
from torch import nn

from lit_diffusion.diffusion import (
    BetaVariance,
    CleanImage,
    DiscretizedGaussian,
    Epsilon,
    GaussianProcess,
    GaussianReverse,
    LearnedDiagonal,
    LearnedRange,
    LinearSchedule,
    PosteriorMean,
)
from lit_diffusion.errors import ConfigError

BETAS = [0.1, 0.3, 0.5]


@pytest.fixture
def reverse_with(small_network):
    """Returns a reverse model on T = 3 with a small network and the given choices."""

    def make(**choices):
        choices = {"network": small_network, "channels": 2} | choices
        return GaussianReverse(GaussianProcess(LinearSchedule(3, 0.1, 0.5)), **choices)

    return make


def test_network_is_evaluated_once_and_receives_t_minus_1(oracle):
    """Index 0..T-1, the convention of the released weights; eps, x_0 and every transition share the evaluation."""
    reverse = oracle(BETAS, Epsilon, lambda x, t: x)
    prediction = reverse.predict(torch.ones(3, 1, 2, 2), torch.tensor([1, 3, 2]))
    for s in (0, 1):
        prediction.transition(torch.full((3,), s))
    torch.testing.assert_close(prediction.eps, prediction.output)
    torch.testing.assert_close(prediction.x_0, prediction.x_t)  # what this oracle answers
    assert [index.tolist() for index in reverse.network.calls] == [[0, 2, 1]]


@pytest.mark.parametrize(
    ("variance", "outputs"), [(BetaVariance(), 2), (LearnedDiagonal(), 4), (LearnedRange(), 4)], ids=["2", "4", "4"]
)
def test_a_learned_variance_doubles_the_output_channels(reverse_with, variance, outputs):
    """The first half is the prediction, the second the variance: moving the second leaves the mean where it was."""
    reverse = reverse_with(variance=variance)
    assert reverse.network.conv.weight.shape[:2] == (outputs, 2)
    x, t = torch.randn(2, 2, 3, 3), torch.tensor([2, 3])
    before = reverse.predict(x, t).transition(t - 1)
    with torch.no_grad():
        reverse.network.conv.bias[2:] += 1
    after = reverse.predict(x, t).transition(t - 1)
    torch.testing.assert_close(after.mean, before.mean, rtol=0, atol=0)
    assert torch.equal(after.variance, before.variance) == (outputs == 2)


@pytest.mark.parametrize("variance", [BetaVariance(), LearnedRange()], ids=type)
def test_a_network_with_other_channels_is_refused_in_one_line(reverse_with, small_network, variance):
    """The line names the variance, both numbers and the key to blame."""
    reverse = reverse_with(variance=variance, network=lambda i, o: small_network(i, 3))
    with pytest.raises(ConfigError) as error:
        reverse.predict(torch.zeros(1, 2, 3, 3), torch.tensor([1]))
    message = str(error.value)
    assert ", got 3;" in message and type(variance).__name__ in message and "\n" not in message
    assert error.value.key == "model.reverse.network"


@pytest.mark.parametrize(("clip", "clip_x_0"), [(False, True), (True, False), (True, True)])
def test_x_0_is_clipped_only_where_asked_and_only_if_the_model_clips(oracle, clip, clip_x_0):
    """Never in training (clip=False), in evaluation unless the model does not clip; `output` is never clipped."""
    reverse = oracle(BETAS, CleanImage, lambda x, t: x, clip_x_0=clip_x_0)
    x = torch.tensor([-3.0, -0.5, 0.5, 3.0]).view(1, 1, 2, 2)
    prediction = reverse.predict(x, torch.tensor([2]), clip=clip)
    assert torch.equal(prediction.x_0, x.clamp(-1, 1) if clip and clip_x_0 else x)
    assert torch.equal(prediction.output, x)


@pytest.mark.parametrize("variance", [LearnedDiagonal(), LearnedRange()], ids=type)
@pytest.mark.parametrize("kind", [Epsilon, PosteriorMean], ids=lambda kind: kind.__name__)
def test_detached_mean_keeps_values_and_lets_gradients_through_the_variance_alone(reverse_with, variance, kind):
    """The same transition; the mean half of the network gets no gradient, the variance half gets its own."""
    reverse = reverse_with(variance=variance, parameterization=kind())
    prediction = reverse.predict(torch.randn(2, 2, 3, 3), torch.tensor([2, 3]))
    detached, s = prediction.detach_mean(), torch.tensor([1, 1])
    p, q = prediction.transition(s), detached.transition(s)
    assert torch.equal(p.mean, q.mean) and torch.equal(p.variance, q.variance)
    assert not q.mean.requires_grad
    (gradient,) = torch.autograd.grad(q.log_prob(torch.zeros(1)).sum(), reverse.network.conv.weight)
    assert (gradient[:2] == 0).all() and (gradient[2:] != 0).any()


def test_mixed_precision_ends_at_the_network_s_output(reverse_with, small_network):
    """A bfloat16 output becomes float32 before any formula sees it."""

    class Half(small_network):
        def forward(self, x, index):
            return super().forward(x, index).bfloat16()

    prediction = reverse_with(network=Half).predict(torch.randn(2, 2, 3, 3), torch.tensor([1, 2]))
    p = prediction.transition(torch.tensor([0, 1]))
    assert prediction.output.dtype == prediction.x_0.dtype == p.mean.dtype == p.variance.dtype == torch.float32


@pytest.mark.parametrize(
    ("shape", "levels", "key", "words"),
    [
        ((3, 4, 4), 256, "model.reverse.channels", ["3 channels", "2", "model.reverse.channels: 3"]),
        ((2, 4, 4), 17, "model.reverse.decoder.num_levels", ["17 levels", "256", "num_levels: 17"]),
    ],
)
def test_data_that_does_not_fit_is_refused_with_what_to_write(reverse_with, shape, levels, key, words):
    """Channels and levels of the data against those of the model."""
    with pytest.raises(ConfigError) as error:
        reverse_with().check(shape, levels)
    assert error.value.key == key and "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


def test_check_asks_the_network_and_leaves_the_model_as_it_was(reverse_with, small_network):
    """A network's own check of the image's shape runs first; mode and parameters stay, even after an error."""

    class Picky(small_network):
        def check_image_shape(self, shape):
            if shape[1] % 2:
                raise ConfigError("odd height")

        def forward(self, x, index):
            assert not self.training
            return super().forward(x, index)[:, : self.outputs]

    reverse = reverse_with(network=Picky).train()
    reverse.network.outputs = 2
    reverse.check((2, 4, 4), 256)
    with pytest.raises(ConfigError, match="odd height"):
        reverse.check((2, 5, 4), 256)
    reverse.network.outputs = 1
    with pytest.raises(ConfigError, match="expected 2 output channels, .*, got 1"):
        reverse.check((2, 4, 4), 256)
    assert reverse.training and reverse.network.training


def test_reverse_owns_the_network_and_tells_its_length_and_place(reverse_with):
    """Every parameter is the network's; T is the schedule's; the schedule's tables are in no checkpoint."""
    reverse = reverse_with(decoder=DiscretizedGaussian(17))
    assert isinstance(reverse, nn.Module) and reverse.num_steps == 3 and reverse.device == torch.device("cpu")
    assert {name.split(".")[0] for name in reverse.state_dict()} == {"network"}
