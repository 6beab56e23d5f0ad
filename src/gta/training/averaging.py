"""Exponential moving average of a network's weights (Polyak averaging), kept beside the weights that train."""

import contextlib
from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """Average of all floating-point weights and buffers with decay d: a <- d a + (1 - d) w after each step.

    The decay starts smaller, min(decay, (1 + n) / (10 + n)) at update n, so that early averages are not stuck at the
    initial weights.

    Args:
        model: the network, on its device already.
        decay: in (0, 1).
        left_out: names of weights that never change and so need no average.
    """

    def __init__(self, model: nn.Module, decay: float, *, left_out: Collection[str] = ()) -> None:
        self.decay = decay
        self.num_updates = 0
        # References: these tensors train in place.
        self._live = {name: value for name, value in model.state_dict().items() if name not in left_out}
        self._average = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        floating = [name for name, value in self._live.items() if value.is_floating_point()]
        average, live = ([values[name] for name in floating] for values in (self._average, self._live))
        get_ema_multi_avg_fn(decay)(average, live, self.num_updates)
        for name, value in self._live.items():
            if not value.is_floating_point():
                self._average[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights, by the network's own names."""
        return dict(self._average)

    def load_state_dict(self, state: dict[str, Tensor], num_updates: int) -> None:
        """Continue from stored averages."""
        for name, value in state.items():
            self._average[name].copy_(value)
        self.num_updates = num_updates

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Let the network hold the averaged weights for a while (to evaluate them), then the training ones again."""
        backup = {name: value.detach().clone() for name, value in self._live.items()}
        self._copy(self._average)
        try:
            yield
        finally:
            self._copy(backup)

    @torch.no_grad()
    def _copy(self, source: dict[str, Tensor]) -> None:
        for name, value in self._live.items():
            value.copy_(source[name])
