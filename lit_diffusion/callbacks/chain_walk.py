"""Walking a chain of steps to its end while a progress bar advances."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from torch import Tensor

from lit_diffusion.errors import ConfigError

State = TypeVar("State")


def walk(
    chain: Iterable[State],
    advance: Callable[..., None],
    amount: float = 1,
    observe: Callable[[State], None] | None = None,
) -> State:
    """The last state of a chain that has at least one, such as `Sampler.chain` or `Sampler.encode`.

    advance: called with `amount` after each state, as yielded by `progress.task`. observe: called with each state.
    """
    for state in chain:
        if observe is not None:
            observe(state)
        advance(amount)
    return state


def count_non_finite(x: Tensor) -> Tensor:
    """How many of the examples x (B, *) contain a value that is not finite: a scalar tensor."""
    return x.isfinite().flatten(1).all(dim=1).logical_not().sum()


def refuse_non_finite(bad: int, drawn: int) -> None:
    """Raises ConfigError if `bad` of the `drawn` samples are not finite, that is unless `bad` is 0."""
    if bad:
        raise ConfigError(
            f"the model has diverged: {bad} of {drawn} samples are not finite; use an earlier checkpoint",
            key="ckpt_path",
        )


def require_finite(x: Tensor) -> Tensor:
    """The samples x (B, *) themselves. Raises ConfigError if any of them is not finite."""
    refuse_non_finite(int(count_non_finite(x)), len(x))
    return x
