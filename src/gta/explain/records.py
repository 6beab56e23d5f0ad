"""What `gta.explain` returns: frozen records of NumPy arrays, no pictures.

Coordinates. A clip has T frames of H x W pixels (`Explanation.frames`). Inside the model a block sees a coarser grid of
t x h x w positions (`BlockExplanation.grid`): position (i, y, x) stands for the clip's frame `frame_numbers[i]` and for
its pixels from `y * H / h` to `(y + 1) * H / h` and `x * W / w` to `(x + 1) * W / w`. All numbers count from 0.

Attention for one query and for all. `AttentionMaps.weights` is the map of the given query, at the block's full
resolution. For an interactive page, which must answer any click without the model, call
`gta.explain(..., table_side=7)`: then `AttentionMaps.table` contains the maps of all queries of a grid of at most
7 x 7 cells per frame. The first axes are the query's cell, the others the map::

    kind        weights       table                    table[i, y, x]
    nl          (t, h, w)     (t, r, c, t, r, c)       the map over all frames
    sa          (h, w)        (t, r, c, r, c)          the map over the query's own frame i
    ta, tape    (t,)          (t, r, c, t)             the weights over the frames at that cell

with r = min(h, table_side) and c = min(w, table_side). A click on pixel (py, px) of the clip's frame f queries cell
`(i, py * r // H, px * c // W)` with i = `BlockExplanation.grid_frame(f)`. A cell's query is the position in its middle,
with its exact row of the softmax; the weights of keys are added up within cells, so a map still sums to 1. To store
8 bits, divide each map by its own maximum and keep that maximum.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gta.files import atomic_path, json_text

Array = NDArray[Any]
Kind = Literal["nl", "sa", "ta", "tape", "gta"]
CamMethod = Literal["grad_cam", "layer_cam"]
Grid = tuple[int, int, int]
"""Frames, rows and columns; or one position of them: frame, row, column."""


@dataclass(frozen=True)
class AttentionMaps:
    """The attention weights of one block for a query; float32, not negative, summing to 1 if `softmax`.

    If a block pools its keys 2x2, the weight of a pooled key is divided equally among the positions that it covers; an
    odd last row or column, which pooling leaves out, has weight 0.
    """

    weights: Array
    """(t, h, w), (h, w) or (t,), depending on the kind of block."""
    table: Array | None = None
    """The maps of all queries at low resolution, if requested; see the module's docstring."""
    softmax: bool = True
    """False for a non-local block of the kind `dot_product`: its weights may be negative and have no fixed sum."""


@dataclass(frozen=True)
class Mixing:
    """The learned matrices of global temporal attention, and their effect on this clip (Sec. 3.3, Eqs. 5-8)."""

    matrices: Array
    """M, float32 (G, N_h, t, t): groups, heads, output frame, input frame. Signed, not normalised, and the same for all
    clips. If pixels and regions each have their own, it is that of the pixels."""
    strength: Array
    """float32 (G, N_h): the mean absolute value of M in each group and head."""
    influence: Array
    """float32 (t, t), row = output frame, column = input frame, measured for this clip: what the values of the input
    frame contribute to the output frame, relative to the features that they are added to (ratio of root mean squares).
    0.1: leaving out the input frame would change the output frame's features by a tenth. Not negative."""
    region_matrices: Array | None = None
    """M of the regions, in the same form, if they have their own."""


@dataclass(frozen=True)
class BlockExplanation:
    """What one attention block of the model does with the clip. What does not apply to its kind is None."""

    name: str
    """Dotted name of the block's module in the model."""
    kind: Kind
    grid: Grid
    """Frames, rows and columns of the block's features."""
    frame_numbers: tuple[int, ...]
    """For each of the grid's frames, the clip's frame that it stands for."""
    query: Grid
    """The queried position of the grid."""
    attention: AttentionMaps | None = None
    """For the kinds nl, sa, ta and tape."""
    swapped: AttentionMaps | None = None
    """For sa, ta and tape, if requested: the maps with the query, key and value projections of spatial and temporal
    blocks swapped in the whole model (the paper's Fig. 5)."""
    partner: str | None = None
    """Name of the block whose projections `swapped` used."""
    mixing: Mixing | None = None
    """For the kind gta."""
    regions: Array | None = None
    """For the kind gta with regions: float32 (t, R, h, w), in [0, 1], summing to 1 over the R regions."""

    def grid_frame(self, frame: int) -> int:
        """The grid's frame nearest to a frame of the clip."""
        return nearest(self.frame_numbers, frame)


@dataclass(frozen=True)
class ClassMaps:
    """Where in each frame the evidence for a class is, one map per frame.

    `grad_cam` (Selvaraju et al. 2017) weights a layer's channels by the mean gradient of the class's score in each
    frame, `layer_cam` (Jiang et al. 2021) every value by its own gradient, if positive.
    """

    class_index: int
    """Number of the class, from 0."""
    layer: str
    """Dotted name of the module whose output the maps are computed from."""
    maps: Array
    """float32 (t, h, w) in [0, 1]; the maximum over the clip is 1, or all are 0 if there is no evidence."""
    frame_numbers: tuple[int, ...]
    """For each map, the clip's frame that it stands for."""
    method: CamMethod = "grad_cam"
    """How the maps were computed."""


@dataclass(frozen=True)
class FrameImportance:
    """The probability of a class when frames are left out, blanked, or played backwards; all float64 in [0, 1].

    Change i affects the clip's frames from `groups[i, 0]` up to, but not including, `groups[i, 1]`: a single frame, or
    several neighbouring ones in long clips.
    """

    class_index: int
    """Number of the class, from 0."""
    groups: Array
    """int64 (N, 2): first frame, and one after the last."""
    intact: float
    """The probability for the unchanged clip."""
    left_out: Array
    """(N,): with the frames replaced by the one before them (or after them, at the beginning)."""
    blanked: Array
    """(N,): with the frames replaced by the mean colour of the training data, zeros after normalisation."""
    backward: float
    """With the order of the frames reversed."""

    @property
    def lost(self) -> Array:
        """The importance of the frames, float64 (N,): the decrease of the class's log-odds when they are left out.

        Positive if they support the class. Log-odds, ln(p / (1 - p)), because the probabilities of a confident model
        hardly change.
        """
        return log_odds(self.intact) - log_odds(self.left_out)


@dataclass(frozen=True)
class Explanation:
    """What a model sees in one clip."""

    source: str
    """The video's path, or empty for a clip that was given as a tensor."""
    model: str
    """Name of the model, such as "tiny_gta", or of its class."""
    classes: tuple[str, ...]
    """K names."""
    frames: Array
    """uint8 (T, H, W, 3): the frames as the model saw them, before normalisation."""
    seconds: tuple[float, ...] | None
    """Time of each frame in the video, where known."""
    forward: Array
    """float32 (K,): probabilities of the clip."""
    backward: Array
    """float32 (K,): probabilities of the clip played backwards."""
    class_index: int
    """Number of the class that is explained: the requested or the most probable one."""
    query: Grid
    """The queried point: frame of the clip, row and column in pixels, from 0."""
    blocks: tuple[BlockExplanation, ...]
    """In the order in which the model applies them."""
    class_maps: tuple[ClassMaps, ...]
    """The explained class first, then the most probable other ones."""
    importance: FrameImportance | None = None
    """The importance of frames for the explained class; None if it was not measured."""
    swapped: Array | None = None
    """float32 (K,): probabilities with the projections of spatial and temporal attention swapped, if requested."""
    notes: tuple[str, ...] = field(default=())
    """What cannot be explained and why, as plain sentences."""

    def top(self, count: int = 5, *, backward: bool = False) -> list[tuple[str, float]]:
        """The most probable classes of the clip, or of the clip played backwards, with their probabilities."""
        scores = self.backward if backward else self.forward
        order = np.argsort(-scores, kind="stable")[:count]
        return [(self.classes[i], float(scores[i])) for i in order]

    def block(self, name: str) -> BlockExplanation:
        """The block of this name; a part of the name is enough if only one block's name has it.

        Raises:
            ValueError: no block, or several, match.
        """
        exact = [block for block in self.blocks if block.name == name]
        found = exact or [block for block in self.blocks if name in block.name]
        if len(found) != 1:
            known = ", ".join(block.name for block in self.blocks) or "none"
            raise ValueError(f"{name!r} names {len(found)} attention blocks: the model has {known}")
        return found[0]

    def to_arrays(self) -> dict[str, Array]:
        """All arrays by name, and everything else as JSON text under "meta".

        Block i's arrays are `block<i>_attention`, `_attention_table`, `_swapped`, `_swapped_table`, `_mixing`,
        `_region_mixing`, `_strength`, `_influence` and `_regions`; class map i's is `class_map<i>`; then `frames`,
        `forward`, `backward`, `swapped`, `importance_groups`, `importance_left_out` and `importance_blanked`.
        """
        named: dict[str, Array | None] = {
            "frames": self.frames,
            "forward": self.forward,
            "backward": self.backward,
            "swapped": self.swapped,
        }
        for index, block in enumerate(self.blocks):
            named |= {f"block{index}_{name}": array for name, array in _block_arrays(block).items()}
        for index, maps in enumerate(self.class_maps):
            named[f"class_map{index}"] = maps.maps
        if self.importance is not None:
            for name in ("groups", "left_out", "blanked"):
                named[f"importance_{name}"] = getattr(self.importance, name)
        arrays = {name: array for name, array in named.items() if array is not None}
        return {**arrays, "meta": np.array(json_text(self._meta()))}

    def to_npz(self, path: str | Path) -> Path:
        """Write `to_arrays` to a compressed .npz file, whole or not at all; returns its path.

        `json.loads(str(numpy.load(path)["meta"]))` gives names, classes and coordinates; no pickle is involved.
        """
        path = Path(path)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **self.to_arrays())  # pyright: ignore[reportArgumentType]
        return path

    def _meta(self) -> dict[str, Any]:
        importance = self.importance
        return {
            "source": self.source,
            "model": self.model,
            "classes": self.classes,
            "seconds": self.seconds,
            "class": self.classes[self.class_index],
            "class_index": self.class_index,
            "query": self.query,
            "blocks": [
                {
                    "name": block.name,
                    "kind": block.kind,
                    "grid": block.grid,
                    "frame_numbers": block.frame_numbers,
                    "query": block.query,
                    "softmax": None if block.attention is None else block.attention.softmax,
                    "partner": block.partner,
                }
                for block in self.blocks
            ],
            "class_maps": [
                {
                    "class_index": maps.class_index,
                    "layer": maps.layer,
                    "frame_numbers": maps.frame_numbers,
                    "method": maps.method,
                }
                for maps in self.class_maps
            ],
            "importance": None
            if importance is None
            else {
                "class_index": importance.class_index,
                "intact": importance.intact,
                "backward": importance.backward,
            },
            "notes": self.notes,
        }


def nearest(frame_numbers: Sequence[int], frame: int) -> int:
    """Which of the clip's frames that features stand for is nearest to a frame of the clip."""
    return int(np.argmin(np.abs(np.asarray(frame_numbers) - frame)))


def log_odds(probability: Array | float) -> Array:
    """ln(p / (1 - p)), p within what float64 can tell from 0 and 1."""
    p = np.clip(probability, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    return np.asarray(np.log(p) - np.log1p(-p))


def _block_arrays(block: BlockExplanation) -> dict[str, Array | None]:
    found: dict[str, Array | None] = {"regions": block.regions}
    for name, maps in (("attention", block.attention), ("swapped", block.swapped)):
        if maps is not None:
            found |= {name: maps.weights, f"{name}_table": maps.table}
    if block.mixing is not None:
        mixing = block.mixing
        found |= {"mixing": mixing.matrices, "strength": mixing.strength, "influence": mixing.influence}
        if mixing.region_matrices is not None:
            found["region_mixing"] = mixing.region_matrices
    return found


def read_meta(arrays: Any) -> dict[str, Any]:
    """The names and coordinates that `to_arrays` keeps under "meta"."""
    return json.loads(str(arrays["meta"]))
