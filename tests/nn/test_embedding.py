"""The time embedding against its formula."""

import numpy as np
import torch

from lit_diffusion.nn.embedding import TimeEmbedding, sinusoidal_embedding


def test_sinusoidal_embedding_is_the_formula():
    """Sines before cosines, frequencies 10000^(-i/(half-1)), at every index of 1000 steps, to float32's rounding."""
    index, half = np.arange(1000), 16
    phases = np.outer(index, np.exp(-np.log(10000) * np.arange(half) / (half - 1)))
    expected = np.concatenate([np.sin(phases), np.cos(phases)], axis=1)
    error = np.abs(sinusoidal_embedding(torch.from_numpy(index), 2 * half).double().numpy() - expected)
    assert (error <= 2e-7 * (1 + index[:, None])).all()  # a phase of t radians is rounded to t * 2^-24


def test_improved_ddpms_embedding_is_its_formula():
    """Cosines first, frequencies 10000^(-i/half), of t times 1000 / T."""
    index, half = np.arange(0, 4000, 7), 16
    phases = np.outer(index * 0.25, np.exp(-np.log(10000) * np.arange(half) / half))
    expected = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
    options = {"ends_at_10000": False, "cosines_first": True, "time_scale": 0.25}
    found = sinusoidal_embedding(torch.from_numpy(index), 2 * half, **options).double().numpy()
    assert (np.abs(found - expected) <= 2e-7 * (1 + 0.25 * index[:, None])).all()


def test_sinusoidal_embedding_separates_all_steps():
    embedding = sinusoidal_embedding(torch.arange(1000), 32)
    distances = torch.cdist(embedding, embedding) + 10 * torch.eye(1000)
    assert distances.min() > 0.1


def test_autocast_leaves_the_sinusoidal_embedding_in_float32():
    t = torch.arange(1000)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sinusoidal_embedding(t, 8), sinusoidal_embedding(t, 8).float())
        inside = sinusoidal_embedding(t, 8)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, sinusoidal_embedding(t, 8))


def test_time_embedding_is_two_dense_layers_each_with_swish():
    torch.manual_seed(0)
    layer = TimeEmbedding(8, 12).double()
    t = torch.tensor([0, 3, 999])
    h = sinusoidal_embedding(t, 8).double().numpy()
    for dense in (layer.dense1, layer.dense2):
        h = h @ dense.weight.detach().numpy().T + dense.bias.detach().numpy()
        h = h / (1 + np.exp(-h))
    np.testing.assert_allclose(layer(t).detach().numpy(), h, rtol=1e-12)
