"""Weights that hide nothing: layers that start at zero would make most of a network invisible to a test."""

from collections.abc import Callable

import pytest
import torch
from torch import nn


@pytest.fixture
def perturbed() -> Callable[[nn.Module], nn.Module]:
    """Returns the module in evaluation mode with small seeded noise added to every parameter."""

    def perturb(module: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        return module.eval()

    return perturb
