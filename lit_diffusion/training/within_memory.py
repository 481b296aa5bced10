"""Settings that ask for more memory than there is are refused before it is allocated."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from lit_diffusion.errors import ConfigError
from lit_diffusion.memory import usable_memory

MAKERS = {
    *(torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint, torch.eye),
    *(torch.arange, torch.linspace, torch.logspace, torch.randperm, torch.tril_indices, torch.triu_indices),
}


class WithinMemory(TorchFunctionMode):
    """While active, tensors that together need more memory than this process may use raise ConfigError."""

    def __init__(self) -> None:
        super().__init__()
        self.taken, self.usable = 0, usable_memory()

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
        if self.taken > self.usable:
            raise ConfigError(
                f"expected settings that fit into memory, {self.usable / 2**30:,.1f} GiB here; these ask for "
                f"{self.taken / 2**30:,.1f} GiB; use smaller sizes"
            )
