"""Exact streaming: one frame at a time through a causal network, with a state instead of the frames before.

In a causal network no frame depends on later ones: temporal shifts bring channels from the previous frame only, and
global temporal attention mixes with a causal Toeplitz M. Each such place needs only the values of the last frames.
"""

import copy
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gta.backbones.dry_run import put_modules
from gta.backbones.framewise import FramewiseBackbone
from gta.backbones.insertion import AttendedBlock
from gta.backbones.tsm import ShiftedConv
from gta.blocks.attention import SpatialAttention
from gta.blocks.factory import Composition
from gta.blocks.gta import GlobalTemporalAttention
from gta.models.classifier import VideoClassifier
from gta.ops.layout import from_tokens, to_tokens
from gta.ops.mixing import pool_regions, spread_regions

State = tuple[Tensor, ...]


@dataclass
class _Slot:
    """What one place hands from frame to frame: read by the step, and written for the next one."""

    before: Tensor | None = None
    after: Tensor | None = None

    def push(self, new: Tensor, length: int) -> Tensor:
        """Append the values of this frame, (B, 1, ...), to the last `length - 1` ones; zeros where there are none."""
        before = self.before
        if before is None:
            before = new.new_zeros(new.shape[0], length - 1, *new.shape[2:])
        every = torch.cat([before, new], dim=1)
        self.after = every[:, 1:]
        return every


class _ShiftStep(nn.Module):
    """A convolution that reads some channels from the previous frame."""

    def __init__(self, shifted: ShiftedConv, slot: _Slot) -> None:
        super().__init__()
        self.conv = shifted.conv
        self.fraction = shifted.fraction
        self.slot = slot

    def forward(self, frame: Tensor) -> Tensor:
        width = frame.shape[1] // self.fraction
        last_two = self.slot.push(frame[:, None, :width], 2)
        return self.conv(torch.cat([last_two[:, 0], frame[:, width:]], dim=1))


class _MixingStep(nn.Module):
    """Causal Toeplitz global temporal attention for the newest of the last T frames."""

    def __init__(self, block: GlobalTemporalAttention, slots: list[_Slot]) -> None:
        super().__init__()
        self.block = block
        self.slots = slots

    def forward(self, features: Tensor) -> Tensor:
        block, slots = self.block, iter(self.slots)
        tokens = to_tokens(features)  # (B, 1, S, C)
        parts = list(block.values(tokens).split(block.widths, dim=3))
        mixed = []
        if block.pixel:
            mixed.append(_newest(block, "pixel", parts.pop(0), next(slots)))
        if block.region:
            value, assignment = parts.pop(0), torch.softmax(parts[-1], dim=3)
            pooled = pool_regions(value, assignment)
            mixed.append(spread_regions(_newest(block, "region", pooled, next(slots)), assignment))
        return from_tokens(block.output(torch.cat(mixed, dim=3), tokens), *features.shape[3:])


def _newest(block: GlobalTemporalAttention, level: str, value: Tensor, slot: _Slot) -> Tensor:
    """Row T of Eqs. 6-7: `out_k = sum_g sum_u M[g, k, T - u] value_g[u]`, for values (B, 1, P, D) of this frame."""
    frames = block.num_frames
    values = slot.push(value, frames)  # (B, T, P, D)
    row = block.matrices(level, frames)[:, :, -1]  # (G, N_h, T)  # pyright: ignore[reportArgumentType]
    mixed = torch.einsum("gku,bupgw->bpkw", row, values.unflatten(3, (row.shape[0], -1)))
    return mixed.flatten(2).unsqueeze(1)


class CausalStep(nn.Module):
    """One frame through a causal network: logits of the last T frames, at the cost of one.

    `logits, state = step(frame, state)`. Nothing is kept in the module: the state goes in and comes out, so that the
    step can be exported (`torch.export`) and one module serves many streams.

    After n frames the features of each are those that a clip of all n frames gives, to rounding, and the logits are
    those of the average over the last T = `num_frames` of them. For n = T that is the model's own evaluation of the
    clip. Later it is that of the whole past, cut to the last T frames only where the head averages: it is not the
    evaluation of these T frames alone, whose first ones would have nothing before them.

    Args:
        model: a frame-wise classifier, alone, with uni-directional shifts, or with causal Toeplitz GTA.

    Raises:
        ValueError: something in it depends on later frames, or on a frame's position in the clip.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(model, VideoClassifier) or not isinstance(model.backbone, FramewiseBackbone):
            raise ValueError(f"{type(model).__name__} does not run frame by frame: exact streaming needs a 2D backbone")
        if not isinstance(model.head, nn.Linear):
            raise ValueError(f"{type(model.head).__name__} uses whole clips: exact streaming needs the head 'average'")
        for name, module in model.named_modules():
            _check(name, module)
        tensors = itertools.chain(model.parameters(), model.buffers())
        own = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()  # the same weights
        self.num_frames = model.num_frames
        self._slots: list[_Slot] = []
        steps: dict[str, nn.Module] = {}
        for name, module in own.named_modules():
            if isinstance(module, ShiftedConv):
                steps[name] = _ShiftStep(module, self._slot())
            elif isinstance(module, GlobalTemporalAttention):
                levels = int(module.pixel) + int(module.region)
                steps[name] = _MixingStep(module, [self._slot() for _ in range(levels)])
            elif isinstance(module, AttendedBlock):
                module.num_frames = 1
        put_modules(own, steps)
        self.model = own

    def _slot(self) -> _Slot:
        self._slots.append(_Slot())
        return self._slots[-1]

    def initial_state(self, frame: Tensor) -> State:
        """The state before the first frame: all zeros, for frames of this shape (B, 3, H, W), dtype and device."""
        with torch.no_grad():
            _, state = self._run(frame, None)
        return tuple(torch.zeros_like(value) for value in state)

    def forward(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Take the next frame.

        Args:
            frame: normalised, (B, 3, H, W).
            state: from `initial_state` or the step before.

        Returns:
            Logits (B, K), and the state for the next step.

        Raises:
            ValueError: the state is that of another network.
        """
        if len(state) != len(self._slots) + 2:
            raise ValueError(f"the state has {len(state)} tensors, this network's has {len(self._slots) + 2}")
        return self._run(frame, state)

    def _run(self, frame: Tensor, state: State | None) -> tuple[Tensor, State]:
        backbone = self.model.backbone
        assert isinstance(backbone, FramewiseBackbone)
        for place, slot in enumerate(self._slots):
            slot.before = None if state is None else state[place]
        pool = _Slot(None if state is None else state[-2])
        number = frame.new_zeros(len(frame), 1) if state is None else state[-1]
        try:
            frames = frame.contiguous(memory_format=torch.channels_last)
            features = backbone.network.forward_features(frames)
            pooled = backbone.network.forward_head(features, pre_logits=True)
            every = pool.push(pooled.unsqueeze(1), self.num_frames)
            number = (number + 1).clamp_max(self.num_frames)
            logits = self.model.head(every.sum(dim=1) / number)
            return logits, (*(_written(slot) for slot in self._slots), _written(pool), number)
        finally:  # an export must leave nothing of its own behind
            for slot in self._slots:
                slot.before = slot.after = None


def _written(slot: _Slot) -> Tensor:
    if slot.after is None:
        raise ValueError("a temporal module of the network is not called when it runs")
    return slot.after.contiguous()


def _check(name: str, module: nn.Module) -> None:
    if isinstance(module, ShiftedConv) and not module.causal:
        raise ValueError(f"{name} shifts channels from the next frame: build the model with causal=True")
    if not isinstance(module, AttendedBlock):
        return
    attention = module.get_submodule("attention")
    for part in attention.children() if isinstance(attention, Composition) else [attention]:
        if not isinstance(part, SpatialAttention):  # which sees one frame at a time
            _check_mixing(f"{name}.attention", part)


def _check_mixing(name: str, block: nn.Module) -> None:
    if not isinstance(block, GlobalTemporalAttention):
        raise ValueError(f"{name} ({type(block).__name__}) depends on all frames: only causal GTA streams exactly")
    options = block.mixing_options
    if not options.causal:
        raise ValueError(f"{name} depends on later frames: build the model with causal=True, toeplitz=True")
    if not options.toeplitz or block.assignment is not None:
        raise ValueError(f"{name} depends on a frame's position in the clip: build it with toeplitz=True")
    if not options.linear:
        raise ValueError(f"{name} has dynamic_rank, gate or differences, which do not stream")
