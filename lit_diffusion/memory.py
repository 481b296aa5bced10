"""No more memory than the machine has for what settings ask for: said before it is taken, not by the kernel after."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from lit_diffusion.errors import ConfigError

MAKERS = {
    *(torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint, torch.eye),
    *(torch.arange, torch.linspace, torch.logspace, torch.randperm, torch.tril_indices, torch.triu_indices),
}


class WithinMemory(TorchFunctionMode):
    """While it is active, tensors that together would take more than all memory of the machine raise ConfigError."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def __torch_function__(
        self, function: Callable, types: Sequence[type], arguments: Sequence = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        if function in MAKERS and "out" not in options:
            self._take(function, arguments, {**options, "device": "meta"})
        return function(*arguments, **options)

    def _take(self, function: Callable, arguments: Sequence, options: dict[str, Any]) -> None:
        options = {name: value for name, value in options.items() if name not in ("generator", "pin_memory")}
        try:
            self.taken += function(*arguments, **options).nbytes
        except (TypeError, RuntimeError, OverflowError):
            return  # arguments that make no tensor: the call itself says what is wrong with them
        if self.taken > (there := machine_memory()):
            raise ConfigError(f"these settings ask for {self.taken / 2**30:,.0f} GiB, and this machine has "
                              f"{there / 2**30:,.0f}; write smaller sizes")  # fmt: skip


def machine_memory() -> int:
    """Bytes that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
