"""`explain.html`: what a model sees, to click through; one file that works from disk, without a network.

The page holds, in 8 bits and low resolution, the maps of every query (`AttentionMaps.table`), so it needs no model. A
map is stored divided by its own maximum, together with that maximum.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gta.explain import AttentionMaps, BlockExplanation, Explanation, Mixing
from gta.explain.regions import distinct_regions
from gta.files import write_text
from gta.terminal import printable
from gta.viz.explain_figures import METHODS, REGIONS_SHOWN, block_label
from gta.viz.frames import image_jpeg
from gta.viz.page import Html, asset, bullets, data_uri, isolated, page, paragraph, section

Array = NDArray[Any]

MOST_BYTES = 8_000_000
"""Size of the file at most."""

MAX_PANELS = 2

TABLE_SIDE = 7
"""What to ask `gta.explain` for: rows and columns of the grid of queries. Finer than this cannot be told apart."""

# From fine to coarse: cells of attention maps, cells of region and class maps, pixels and JPEG quality of frames.
_DETAILS = ((99, 32, 256, 82), (7, 24, 224, 78), (6, 16, 176, 74), (5, 14, 144, 70), (4, 10, 112, 65), (3, 7, 80, 60))

# Axes of `AttentionMaps.table` that are rows or columns of a frame: those of the query, and those of the keys.
_QUERY_AXES = {"nl": (1, 2), "sa": (1, 2), "ta": (1, 2), "tape": (1, 2)}
_KEY_AXES = {"nl": (4, 5), "sa": (3, 4), "ta": (), "tape": ()}
_NUM_QUERY_AXES = 3

_WORDS = {
    "nl": "Non-local attention: how much the marked position attends to every position of every frame. Deepest "
    "colour: the strongest position of the clip; bars: the share of each frame.",
    "sa": "Spatial attention: how much the marked position attends to every position of its own frame.",
    "ta": "Temporal attention: how much the marked position attends to the same position in each frame (bars).",
    "tape": "Temporal attention with an encoding of time: how much the marked position attends to the same position in "
    "each frame (bars).",
    "gta": "Region maps: which positions the model treats as one region, in each frame. Regions are learned "
    "and have no names.",
}


def write_explain_page(path: str | Path, explanations: Sequence[Explanation], *, most_bytes: int = MOST_BYTES) -> Path:
    """Write `explain_page` to a file, whole or not at all; returns its path."""
    path = Path(path)
    write_text(path, explain_page(explanations, most_bytes=most_bytes))
    return path


def explain_page(explanations: Sequence[Explanation], *, most_bytes: int = MOST_BYTES) -> str:
    """The page of one explanation, or of several models' side by side: clicks ask them all at the same place.

    Args:
        explanations: of the same video, made with `gta.explain(..., table_side=7)`.
        most_bytes: size of the file at most; resolution is given up to stay below.

    Raises:
        ValueError: there are none or more than two, attention was explained for one query only, or the page would be
            too large even at the lowest resolution.
    """
    if not 1 <= len(explanations) <= MAX_PANELS:
        raise ValueError(f"{len(explanations)} explanations: the page shows 1 or {MAX_PANELS} side by side")
    for record in explanations:
        for block in record.blocks:
            for maps in (block.attention, block.swapped):
                if maps is not None and maps.table is None:
                    raise ValueError(
                        f"{block.name}: no maps of all queries: call gta.explain with table_side={TABLE_SIDE}"
                    )
    size = 0
    for details in _DETAILS:
        text = _page(explanations, *details)
        size = len(text.encode("utf-8", errors="replace"))
        if size <= most_bytes:
            return text
    raise ValueError(f"the page would have {size / 1e6:.1f} MB, more than {most_bytes / 1e6:.1f}: explain fewer frames")


def _page(records: Sequence[Explanation], cells: int, map_cells: int, pixels: int, quality: int) -> str:
    panels = [_panel(record, cells, map_cells, pixels, quality) for record in records]
    first = records[0]
    source = first.source.replace("\\", "/").rstrip("/").rpartition("/")[2] or "a clip"
    notes = list(dict.fromkeys(note for record in records for note in record.notes))
    models = " and ".join(record.model for record in records)
    return page(
        f"What {models} sees in {source}" if len(records) == 1 else f"What {models} see in {source}",
        paragraph(
            "Click any point in any frame to update the maps. Keyboard: arrow keys move the marker, comma and full "
            "stop change the frame, the space bar plays, B plays backwards. Frames count from 0.",
            kind="note",
        ),
        Html('<div id="panels"></div>\n<noscript><p class="bad">This page needs JavaScript.</p></noscript>\n'),
        section("What cannot be explained", bullets(map(isolated, notes))) if notes else Html(),
        style=asset("explain.css"),
        script=asset("explain_parts.js") + asset("explain.js"),
        data=json.dumps({"panels": panels}, ensure_ascii=True, allow_nan=False, separators=(",", ":")),
    )


def _panel(record: Explanation, cells: int, map_cells: int, pixels: int, quality: int) -> dict[str, Any]:
    height, width = record.frames.shape[1:3]
    return {
        "model": printable(record.model),
        "frames": [_frame(frame, pixels, quality) for frame in record.frames],
        "size": [height, width],
        "seconds": None if record.seconds is None else [round(float(value), 4) for value in record.seconds],
        "explained": printable(record.classes[record.class_index]),
        "query": list(map(int, record.query)),
        "predictions": _predictions(record),
        "blocks": [_block(block, cells, map_cells) for block in record.blocks],
        "classMaps": [
            {
                "name": printable(record.classes[maps.class_index]),
                "layer": printable(block_label(maps.layer)),
                "method": METHODS[maps.method],
                "frameNumbers": list(map(int, maps.frame_numbers)),
                **_bytes(reduced(maps.maps, map_cells)),
            }
            for maps in record.class_maps
        ],
        "importance": _importance(record),
    }


def _predictions(record: Explanation) -> list[dict[str, Any]]:
    """The most probable classes of the clip played forwards, backwards and, if asked for, with swapped attention."""
    every = [("forwards", record.forward), ("backwards", record.backward)]
    if record.swapped is not None:
        every.append(("with swapped attention", record.swapped))
    return [
        {
            "played": played,
            "classes": [
                [printable(record.classes[index]), round(float(scores[index]), 5)]
                for index in np.argsort(-scores, kind="stable")[:5]
            ],
        }
        for played, scores in every
    ]


def _importance(record: Explanation) -> dict[str, Any] | None:
    importance = record.importance
    if importance is None:
        return None
    return {
        "name": printable(record.classes[importance.class_index]),
        "groups": importance.groups.tolist(),
        "lost": [round(float(value), 5) for value in importance.lost],
    }


def _frame(frame: Array, pixels: int, quality: int) -> str:
    """A frame as a data URI, its longer side at most `pixels`."""
    height, width = frame.shape[:2]
    if max(height, width) > pixels:
        scale = pixels / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))
    return data_uri(image_jpeg(frame, quality), "image/jpeg")


def _block(block: BlockExplanation, cells: int, map_cells: int) -> dict[str, Any]:
    return {
        "name": printable(block.name),
        "label": printable(block_label(block.name)),
        "kind": block.kind,
        "words": _WORDS[block.kind],
        "frameNumbers": list(map(int, block.frame_numbers)),
        "attention": _attention(block.attention, block.kind, cells),
        "swapped": _attention(block.swapped, block.kind, cells),
        "partner": None if block.partner is None else printable(block_label(block.partner)),
        "regions": None if block.regions is None else _regions(block.regions, map_cells),
        "mixing": None if block.mixing is None else _mixing(block.mixing),
    }


def _attention(maps: AttentionMaps | None, kind: str, cells: int) -> dict[str, Any] | None:
    """The table in 8 bits: each query's map divided by its maximum, and these maxima."""
    if maps is None or maps.table is None:
        return None
    table = coarser(maps.table, kind, cells)
    queries = table.shape[:_NUM_QUERY_AXES]
    flat = table.reshape(int(np.prod(queries)), -1)
    top = np.abs(flat).max(axis=1)
    shares = flat / np.where(top > 0, top, 1.0)[:, None]
    return {
        "query": list(queries),
        "map": list(table.shape[_NUM_QUERY_AXES:]),
        "signed": not maps.softmax,
        "top": _text(top.astype("<f4").tobytes()),
        "bytes": _text(_eight_bits(shares, signed=not maps.softmax)),
    }


def _regions(regions: Array, cells: int) -> dict[str, Any]:
    """Region maps (t, R, h, w), each region in 8 bits from its lowest weight in the clip to its highest, and which of
    them to show at first: the most distinct ones. Weak regions differ by less than a 256th from place to place.
    """
    maps = reduced(regions, cells).astype(np.float64)
    low, high = maps.min(axis=(0, 2, 3)), maps.max(axis=(0, 2, 3))
    span = np.where(high > low, high - low, 1.0)
    shares = (maps - low[:, None, None]) / span[:, None, None]
    return {
        **_bytes(shares),
        "low": [float(f"{value:.6g}") for value in low],
        "high": [float(f"{value:.6g}") for value in high],
        "shown": sorted(int(region.index) for region in distinct_regions(regions, REGIONS_SHOWN)),
    }


def _mixing(mixing: Mixing) -> dict[str, Any]:
    groups, heads, frames = mixing.matrices.shape[:3]
    top = float(np.abs(mixing.matrices).max()) or 1.0
    order = np.argsort(-mixing.strength, axis=None, kind="stable")
    return {
        "frames": frames,
        "heads": heads,
        "order": order.tolist(),
        "strength": [round(float(value), 6) for value in mixing.strength.reshape(-1)],
        "top": top,
        "bytes": _text(_eight_bits(mixing.matrices.reshape(groups * heads, -1) / top, signed=True)),
        "influence": [[round(float(value), 5) for value in row] for row in mixing.influence],
        "words": influence_words(mixing.influence),
    }


def influence_words(influence: Array) -> str:
    """What to see in the influence of frames on frames, (t, t), row = output: a sentence that follows by rule."""
    frames = len(influence)
    between = influence.astype(np.float64).copy()
    np.fill_diagonal(between, 0.0)
    if frames < 2 or between.max() == 0:
        return "No frame uses another one."
    to, source = np.unravel_index(int(between.argmax()), between.shape)
    earlier, later = np.tril(between, -1).sum(), np.triu(between, 1).sum()
    share = earlier / (earlier + later)
    direction = (
        f"{100 * share:.0f} % of what frames take from others is from earlier frames, {100 - 100 * share:.0f} % from "
        "later ones"
    )
    if abs(share - 0.5) < 0.02:
        direction = "frames use earlier and later ones alike"
    return (
        f"Strongest: frame {to} uses frame {source}, which changes its features by "
        f"{100 * between.max():.1f} % of their size; {direction}."
    )


# ---- lower resolution, fewer bits -----------------------------------------------------------------------------------


def coarser(table: Array, kind: str, cells: int) -> Array:
    """A table of attention maps on at most `cells` x `cells` cells per frame.

    The query in the middle of each new cell stands for it; keys are added up, so that each map keeps its sum.
    """
    for axis in _QUERY_AXES[kind]:
        side = table.shape[axis]
        if side > cells:
            table = table.take([int((cell + 0.5) * side / cells) for cell in range(cells)], axis=axis)
    for axis in _KEY_AXES[kind]:
        side = table.shape[axis]
        if side > cells:
            table = np.add.reduceat(table, [cell * side // cells for cell in range(cells)], axis=axis)
    return table


def reduced(maps: Array, cells: int) -> Array:
    """Maps (..., h, w) on at most `cells` x `cells` cells: the mean of each."""
    for axis in (-2, -1):
        side = maps.shape[axis]
        if side > cells:
            starts = np.array([cell * side // cells for cell in range(cells)])
            counts = np.diff([*starts.tolist(), side])
            summed = np.add.reduceat(maps, starts, axis=axis)
            maps = summed / (counts[:, None] if axis == -2 else counts)
    return maps


def _bytes(maps: Array) -> dict[str, Any]:
    """Maps in [0, 1] in 8 bits, with their shape."""
    return {"shape": list(maps.shape), "bytes": _text(_eight_bits(maps, signed=False))}


def _eight_bits(values: Array, *, signed: bool) -> bytes:
    """Values in [0, 1] as 0 to 255, or in [-1, 1] as 1 to 255 with 128 for 0."""
    scaled = 128 + np.round(127 * values) if signed else np.round(255 * values)
    return np.clip(scaled, 0, 255).astype(np.uint8).tobytes()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
