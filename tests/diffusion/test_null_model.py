"""The models with which bounds are compared."""

import math

import torch

from lit_diffusion.diffusion.null_model import NullModel, bits


def test_real_values_of_unit_variance_have_the_2015_values():
    """-log2(2 pi e) = -4.094 bits for two coordinates: what the swiss roll's K of 2.35 exceeds by 6.45."""
    torch.manual_seed(0)
    x = torch.randn(100_000, 2)
    null = NullModel(x.split(1000), None)
    mean = -bits(null.nll(x)).mean().item()
    variance = x.double().var(correction=0).item()
    assert abs(mean + math.log2(2 * math.pi * math.e * variance)) < 1e-4
    assert abs(mean + 4.094) < 0.02


def test_the_heartbeat_has_its_value():
    """-20 H(0.2) = -14.438 bits: one pulse every five bins  (Sohl-Dickstein et al. 2015, table 1)."""
    beats = -torch.ones(5, 20)
    for phase in range(5):
        beats[phase, phase::5] = 1
    torch.testing.assert_close(-bits(NullModel([beats], 2).nll(beats)), torch.full((5,), -14.438562).double())


def test_levels_have_the_mass_of_their_bins():
    """Over all levels of one pixel it sums to one."""
    levels = torch.arange(17.0)[:, None] / 8 - 1
    null = NullModel([levels[4:9]], 17)
    torch.testing.assert_close((-null.nll(levels)).exp().sum(), torch.tensor(1.0).double())
