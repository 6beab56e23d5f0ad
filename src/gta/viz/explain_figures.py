"""Pictures of a `gta.explain` record in the manner of the paper's Figures 1 and 3 to 6."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gta.explain.records import Array, AttentionMaps, BlockExplanation, Explanation, nearest
from gta.explain.regions import distinct_regions
from gta.viz.figures import COLOURS, new_figure, plain_text
from gta.viz.overlays import heat_overlay, region_overlay
from gta.viz.strips import Row, Strip, pick_columns

_KINDS = {
    "nl": "non-local attention",
    "sa": "spatial attention",
    "ta": "temporal attention",
    "tape": "temporal attention",
    "gta": "global temporal attention",
}
METHODS = {"grad_cam": "Grad-CAM", "layer_cam": "LayerCAM"}
REGIONS_SHOWN = 4
"""Regions of a block that are drawn, or shown at first."""


def block_label(name: str) -> str:
    """A block's dotted name without what all blocks of a model have in common."""
    parts = [part for part in name.split(".") if part not in ("backbone", "network", "attention", "pathway", "blocks")]
    return ".".join(parts) or name


def record_figures(record: Explanation, blocks: Sequence[BlockExplanation] | None = None) -> dict[str, Figure]:
    """Every figure that the blocks (all if not given) give: "attention", "regions" and "mixing" as far as they go."""
    blocks = record.blocks if blocks is None else blocks
    figures = {"attention": attention_figure(record, blocks)}
    regions = [block for block in blocks if block.regions is not None]
    if regions:  # those of the last block, which have seen most of the network
        figures["regions"] = regions_figure(record, regions[-1])
    if any(block.mixing is not None for block in blocks):
        figures["mixing"] = mixing_figure(blocks, f"{record.model}: how frames are mixed")
    return figures


def attention_figure(record: Explanation, blocks: Sequence[BlockExplanation] | None = None) -> Figure:
    """Draw where the blocks look from the query (Figures 1, 3 and 5), where the evidence is, and which frames matter.

    A column for each frame, the query's red cross on the first row. Maps of a row share one scale, so frames can be
    compared. Non-local attention has a map on every frame; spatial attention one on the query's frame; temporal
    attention a bar under each frame; global temporal attention the influence of each frame on the query's.

    Args:
        record: what was explained.
        blocks: which of its blocks; all if not given.
    """
    shown = pick_columns(len(record.frames), record.query[0])
    strip = _strip(record, shown)
    height, width = record.frames.shape[1:3]
    strip.rows.append(Row("frames", "red cross: the query", [record.frames[frame] for frame in shown]))
    strip.cross = (0, shown.index(record.query[0]), (record.query[2] + 0.5) / width, (record.query[1] + 0.5) / height)
    strip.rows += _evidence_rows(record, shown)
    for block in record.blocks if blocks is None else blocks:
        strip.rows += _block_rows(record, block, shown)
    return strip.figure(height / width)


def _strip(record: Explanation, shown: Sequence[int]) -> Strip:
    (forward, probability), (backward, other) = record.top(1)[0], record.top(1, backward=True)[0]
    explained = record.classes[record.class_index]
    remark = f"backwards: {backward} ({other:.0%})"
    if explained != forward:
        remark = f"explained: {explained} ({record.forward[record.class_index]:.0%});  {remark}"
    seconds = record.seconds
    columns = [f"frame {f}" if seconds is None else f"frame {f} · {seconds[f]:.2f} s" for f in shown]
    return Strip(f"{record.model}: {forward} ({probability:.0%})", remark, columns)


def _evidence_rows(record: Explanation, shown: Sequence[int]) -> list[Row]:
    rows = []
    if record.class_maps:
        maps = record.class_maps[0]
        near = [nearest(maps.frame_numbers, frame) for frame in shown]
        pictures = [
            heat_overlay(record.frames[frame], maps.maps[index], 1.0) for frame, index in zip(shown, near, strict=True)
        ]
        rows.append(Row("evidence", f"{METHODS[maps.method]}\nof {block_label(maps.layer)}", pictures))
    importance = record.importance
    if importance is not None:
        groups = [int(np.searchsorted(importance.groups[:, 1], frame, side="right")) for frame in shown]
        lost = [float(importance.lost[group]) for group in groups]
        remark = "log-odds lost without it"
        rows.append(Row("frame importance", remark, bars=lost, highest=max(1.0, *map(abs, lost)), colour=COLOURS[1]))
    return rows


def _block_rows(record: Explanation, block: BlockExplanation, shown: Sequence[int]) -> list[Row]:
    label = block_label(block.name)
    rows = []
    for maps, swapped in ((block.attention, False), (block.swapped, True)):
        if maps is not None:
            remark = f"with the projections of {block_label(block.partner or '')}" if swapped else _KINDS[block.kind]
            rows.append(_attention_row(record, block, maps, shown, label, remark))
    if block.mixing is not None:
        influence = block.mixing.influence[block.query[0]]
        bars = [float(influence[block.grid_frame(frame)]) for frame in shown]
        remark = f"influence on frame {record.query[0]}"
        rows.append(Row(label, remark, bars=bars, colour=COLOURS[2]))
    return rows


def _attention_row(
    record: Explanation, block: BlockExplanation, maps: AttentionMaps, shown: Sequence[int], label: str, remark: str
) -> Row:
    weights = np.maximum(maps.weights, 0)  # of a non-local block without softmax, what it adds
    if weights.ndim == 1:
        bars = [float(weights[block.grid_frame(frame)]) for frame in shown]
        return Row(label, remark, bars=bars)
    top = float(weights.max())
    if weights.ndim == 3:
        pictures = [heat_overlay(record.frames[frame], weights[block.grid_frame(frame)], top) for frame in shown]
    else:
        own = record.query[0]
        pictures = [heat_overlay(record.frames[f], weights if f == own else np.zeros_like(weights), top) for f in shown]
    return Row(label, f"{remark}\nbrightest: {top:.2g}", pictures)


def regions_figure(record: Explanation, block: BlockExplanation) -> Figure:
    """Draw the most distinct regions of a block over the frames (Figures 4 and 6), and say how they were chosen.

    Raises:
        ValueError: the block has no regions.
    """
    if block.regions is None:
        raise ValueError(f"{block.name} has no regions")
    shown = pick_columns(len(record.frames), record.query[0])
    strip = _strip(record, shown)
    strip.rows.append(Row("frames", "", [record.frames[frame] for frame in shown]))
    total = block.regions.shape[1]
    for order, region in enumerate(distinct_regions(block.regions, REGIONS_SHOWN)):
        colour = _rgb(COLOURS[order])
        pictures = [
            region_overlay(
                record.frames[frame], _stretched(block.regions[:, region.index])[block.grid_frame(frame)], colour
            )
            for frame in shown
        ]
        remark = f"{region.share:.0%} of the positions\ncontrast {region.contrast:.2f}"
        strip.rows.append(Row(f"region {region.index}", remark, pictures))
    strip.footnote = textwrap.fill(
        f"{block_label(block.name)}: {len(strip.rows) - 1} of {total} regions, the most distinct first: each has the "
        "highest product of contrast (spread of its weights over positions, 1 = all or nothing) and one minus its "
        "greatest correlation with those above. Bright is the region's highest weight, dark its lowest.",
        width=30 + 17 * len(shown),
    )
    return strip.figure(record.frames.shape[1] / record.frames.shape[2])


def _stretched(weights: Array) -> Array:
    """A region's maps with its lowest weight in the clip as 0 and its highest as 1."""
    low, high = float(weights.min()), float(weights.max())
    return (weights - low) / max(high - low, float(np.finfo(np.float32).tiny))


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def mixing_figure(blocks: Sequence[BlockExplanation], title: str) -> Figure:
    """Draw how frames are mixed: for each block, the influence measured for the clip beside all its matrices M.

    All matrices share one scale; groups (rows) and heads (columns) are sorted by strength, the mean of |M|.

    Raises:
        ValueError: no block has matrices.
    """
    mixed = [block for block in blocks if block.mixing is not None]
    if not mixed:
        raise ValueError("no block mixes frames: there are no matrices M to draw")
    figure = new_figure(9.6, 4.5 * len(mixed) + 0.8)
    places = figure.subplots(len(mixed), 2, squeeze=False, width_ratios=[1, 1.5])
    highest = max(float(block.mixing.influence.max()) for block in mixed if block.mixing is not None)
    limit = max(float(np.abs(block.mixing.matrices).max()) for block in mixed if block.mixing is not None)
    for (left, right), block in zip(places, mixed, strict=True):
        _draw_influence(left, block, highest or 1.0)
        _draw_matrices(right, block, limit or 1.0)
    figure.suptitle(plain_text(title), fontsize=11, fontweight="bold")
    figure.supxlabel(
        "What to look for: on the left, brightness below the diagonal means that frames use the past, above it the "
        "future;\non the right, red next to blue in a row is a difference between frames, which responds to change "
        "and ignores what stays the same.",
        fontsize=8,
    )
    return figure


def _draw_influence(axis: Axes, block: BlockExplanation, highest: float) -> None:
    assert block.mixing is not None
    picture = axis.imshow(block.mixing.influence, cmap="viridis", vmin=0, vmax=highest)
    axis.set_title(f"{plain_text(block_label(block.name))}: influence in this clip", fontsize=9)
    frames = block.frame_numbers
    step = max(1, len(frames) // 8)
    axis.set_xticks(range(0, len(frames), step), [str(frame) for frame in frames[::step]])
    axis.set_yticks(range(0, len(frames), step), [str(frame) for frame in frames[::step]])
    axis.set_xlabel("from frame", fontsize=9)
    axis.set_ylabel("to frame", fontsize=9)
    axis.tick_params(labelsize=8)
    bar = axis.figure.colorbar(picture, ax=axis, shrink=0.75)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("change of the features, relative to their size", fontsize=8)


def _draw_matrices(axis: Axes, block: BlockExplanation, limit: float) -> None:
    """All G x N_h matrices as tiles with a gap between them."""
    assert block.mixing is not None
    matrices, strength = block.mixing.matrices, block.mixing.strength
    groups, heads = np.argsort(-strength.mean(axis=1)), np.argsort(-strength.mean(axis=0))
    frames = matrices.shape[2]
    side = frames + 1
    canvas = np.full((len(groups) * side - 1, len(heads) * side - 1), np.nan)
    for row, group in enumerate(groups):
        for column, head in enumerate(heads):
            canvas[row * side : row * side + frames, column * side : column * side + frames] = matrices[group, head]
    picture = axis.imshow(canvas, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    of = " of pixels" if block.mixing.region_matrices is not None else ""
    axis.set_title(
        f"M{of}: {frames} x {frames} for each group and head, from frame (across), to frame (down)", fontsize=9
    )
    middle = (frames - 1) / 2
    rows = [f"{group}  ({strength[group].mean():.2g})" for group in groups]
    axis.set_yticks([row * side + middle for row in range(len(groups))], rows)
    axis.set_xticks([column * side + middle for column in range(len(heads))], [str(head) for head in heads])
    axis.set_ylabel("group (mean |M|), strongest first", fontsize=9)
    axis.set_xlabel("head, strongest first", fontsize=9)
    axis.tick_params(labelsize=7.5, length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.figure.colorbar(picture, ax=axis, shrink=0.75).ax.tick_params(labelsize=7)
