"""Where the object is, and in what state, at any moment of a clip (time running forwards)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gta.synthetic.classes import Motion
from gta.synthetic.parameters import ClipParameters

Array = NDArray[np.floating]

COVER_SIZE = 1.6
"""Half the side of the cover, in radii of the object: enough to hide it with its handle."""


@dataclass(frozen=True)
class Poses:
    """The object at N moments: each field is (N,) float32, in the units of `ClipParameters`."""

    x: Array
    y: Array
    size: Array
    angle: Array
    opening: Array
    """Half the width of the slit, in radii."""
    opacity: Array
    """0 invisible, 1 solid."""
    cover: Array | None
    """Distance of the cover from the object; None where there is no cover."""


def progress(parameters: ClipParameters, times: NDArray[np.float64], *, returns: bool = False) -> NDArray[np.float64]:
    """How much of the action has happened at `times` (N,) in [0, 1]: from 0 to 1, never going back.

    With `returns` it is undone again in the second half, in the same way; one frame later it would begin anew.
    """
    if returns:
        times = 1 - np.abs(2 * times * (1 - 1 / parameters.num_frames) - 1)
    active = 1 - parameters.lead_in - parameters.lead_out
    done = np.clip((times - parameters.lead_in) / active, 0, 1)
    wave = np.sin(2 * math.pi * done) / (2 * math.pi)
    return done + parameters.ease * wave + parameters.bend * done * (1 - done)


def poses(motion: Motion, parameters: ClipParameters, times: NDArray[np.float64], *, returns: bool = False) -> Poses:
    """Describe the object at `times` (N,), 0 for the middle of the first frame's exposure and 1 for the last one's."""
    done = progress(parameters, times, returns=returns)
    middle = done - 0.5  # every path passes through the same place half-way, whatever the motion
    x = np.full_like(done, parameters.center[0])
    y = np.full_like(done, parameters.center[1])
    size = np.full_like(done, parameters.size)
    angle = np.full_like(done, parameters.tilt)
    opening, opacity, cover = np.zeros_like(done), np.ones_like(done), None
    if motion == "right":
        x = x + parameters.travel * middle
        y = y + parameters.drift * middle
    elif motion == "down":
        x = x + parameters.drift * middle
        y = y + parameters.travel * middle
    elif motion == "nearer":
        size = size * parameters.zoom ** (2 * middle)
    elif motion == "open":
        opening = parameters.opening * done
    elif motion == "cover":
        cover = (2 * COVER_SIZE + 0.2) * parameters.size * (1 - done)
    elif motion == "appear":
        opacity = done
    elif motion == "clockwise":
        angle = angle + parameters.turn * middle
    elif motion == "shake":
        turns = parameters.shake_rate * (parameters.num_frames - 1) * times
        swing = np.sin(2 * math.pi * turns + parameters.shake_phase)
        x = x + parameters.shake_size * math.cos(parameters.shake_angle) * swing
        y = y + parameters.shake_size * math.sin(parameters.shake_angle) * swing
        angle = angle + parameters.shake_tilt * swing
    return Poses(
        x=x.astype(np.float32),
        y=y.astype(np.float32),
        size=size.astype(np.float32),
        angle=angle.astype(np.float32),
        opening=opening.astype(np.float32),
        opacity=opacity.astype(np.float32),
        cover=None if cover is None else cover.astype(np.float32),
    )


def around(radii: tuple[float, float], rounds: int, phase: float, times: NDArray[np.float64]) -> tuple[Array, Array]:
    """Where on an ellipse around the origin a thing is at `times` (N,) that goes round it `rounds` times."""
    turned = 2 * math.pi * rounds * times + phase
    return (radii[0] * np.cos(turned)).astype(np.float32), (radii[1] * np.sin(turned)).astype(np.float32)


def largest_step(path: Poses) -> float:
    """The farthest that any point of the object or the cover moves between two neighbouring poses, in short sides."""
    shift = np.hypot(np.diff(path.x), np.diff(path.y))
    rim = np.abs(np.diff(path.size)) + np.abs(np.diff(path.angle)) * path.size[1:]
    slit = np.abs(np.diff(path.opening)) * path.size[1:]
    steps = shift + rim + slit
    if path.cover is not None:
        steps = np.maximum(steps, np.abs(np.diff(path.cover)))
    return float(steps.max(initial=0.0))
