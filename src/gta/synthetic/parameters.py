"""Everything that varies from clip to clip, drawn without knowing the clip's class.

Because the class plays no part in the drawing, appearance is independent of the class by construction. Lengths are in
units of the frame's short side, with the origin in the middle of the frame, x to the right and y down; time runs from
0 (first frame) to 1 (last frame). Distributions that involve time are symmetric under its reversal (a bend of the
progress is as likely as its mirror image), so speed and hesitation tell nothing about the direction either.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from gta.config import Difficulty

Color = tuple[float, float, float]
"""Red, green and blue in [0, 1]."""
Shape = Literal["disc", "square", "triangle", "hexagon", "cross", "dome"]
Texture = Literal["plain", "striped", "checked"]

SHAPES: tuple[Shape, ...] = ("disc", "square", "triangle", "hexagon", "cross", "dome")
TEXTURES: tuple[Texture, ...] = ("plain", "striped", "checked")
DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
FRAME_RATES = (12, 15, 20, 24, 25, 30)
MIN_FRAMES, MAX_FRAMES = 16, 40


@dataclass(frozen=True)
class Look:
    """How a thing looks: its outline and a pattern of two colours.

    `frequency` is in radians per unit of the thing's own size, `phase` in radians.
    """

    shape: Shape
    texture: Texture
    color: Color
    second_color: Color
    frequency: float
    phase: float


@dataclass(frozen=True)
class Background:
    """A gradient between two colours, along `angle` (radians), with a faint pattern over it."""

    color: Color
    second_color: Color
    angle: float
    texture: Texture
    frequency: float
    phase: float
    contrast: float


@dataclass(frozen=True)
class Distractor:
    """A second, smaller thing behind the object that drifts slowly in a random direction, whatever the class."""

    look: Look
    size: float
    center: tuple[float, float]
    drift: tuple[float, float]
    tilt: float


@dataclass(frozen=True)
class Orbiter:
    """A further thing that goes once or twice around an ellipse; where the clip ends it is where it began."""

    look: Look
    size: float
    center: tuple[float, float]
    radii: tuple[float, float]
    rounds: int
    """Negative: counter-clockwise."""
    phase: float
    tilt: float
    in_front: bool
    """Before the object, which it may hide, or behind it."""


@dataclass(frozen=True)
class Camera:
    """The camera sways: the whole picture moves along an ellipse, ending where it began."""

    radii: tuple[float, float]
    rounds: int
    phase: float


@dataclass(frozen=True)
class Post:
    """A bar through the whole picture that stands still before everything else."""

    look: Look
    angle: float
    offset: float
    width: float
    """Half its width."""


@dataclass(frozen=True)
class ClipParameters:
    """One clip but for its class. Angles are in radians, clockwise; `exposure` is a fraction of a frame's duration."""

    num_frames: int
    fps: int
    look: Look
    handle_color: Color
    inside_color: Color
    cover: Look
    background: Background
    distractor: Distractor | None
    size: float
    """Radius of the object."""
    center: tuple[float, float]
    """Middle of the object's path."""
    tilt: float
    """Orientation of the object in the middle of its path."""
    lead_in: float
    """Fraction of the clip before anything happens."""
    lead_out: float
    """Fraction of the clip after everything has happened."""
    ease: float
    """Slower (negative) or faster (positive) at both ends than in the middle, in (-1, 1)."""
    bend: float
    """Faster first (positive) or faster last (negative), in (-1, 1)."""
    travel: float
    """Length of a path across the frame."""
    drift: float
    """Sideways change over that path."""
    zoom: float
    """Factor between the middle of a path towards the camera and either end."""
    turn: float
    """Angle of a whole turn."""
    opening: float
    """Half the width of a fully open slit, in units of the radius."""
    cover_angle: float
    """Direction from which the cover comes."""
    shake_angle: float
    """Direction of shaking."""
    shake_size: float
    """Amplitude of shaking."""
    shake_tilt: float
    """Amplitude of shaking as an angle."""
    shake_rate: float
    """Oscillations per frame."""
    shake_phase: float
    """Where in an oscillation the clip begins, in radians."""
    exposure: float
    """How long the shutter is open."""
    noise: float
    """Standard deviation of the sensor noise, in levels of 255."""
    noise_seed: int
    """Seed of the sensor noise."""
    orbiters: tuple[Orbiter, ...] = ()
    """Further things that move; like the fields below, only in the hard variant."""
    camera: Camera | None = None
    """Motion of the camera."""
    post: Post | None = None
    """What stands before the scene."""


def _distance(first: Color, second: Color) -> float:
    return math.dist(first, second)


def _color_unlike(rng: np.random.Generator, others: list[Color], distance: float) -> Color:
    """Draw a colour that is at least `distance` from every one of `others`; the farthest of 16 if there is none."""
    drawn = [(float(r), float(g), float(b)) for r, g, b in rng.uniform(0.05, 0.95, size=(16, 3))]
    margins = [min(_distance(color, other) for other in others) for color in drawn]
    for color, margin in zip(drawn, margins, strict=True):
        if margin >= distance:
            return color
    return drawn[int(np.argmax(margins))]


def _draw_look(rng: np.random.Generator, unlike: list[Color]) -> Look:
    color = _color_unlike(rng, unlike, 0.5)
    return Look(
        shape=SHAPES[int(rng.integers(len(SHAPES)))],
        texture=TEXTURES[int(rng.integers(len(TEXTURES)))],
        color=color,
        second_color=_color_unlike(rng, [*unlike, color], 0.35),
        frequency=float(rng.uniform(4.0, 8.0)),
        phase=float(rng.uniform(0, 2 * math.pi)),
    )


def _draw_background(rng: np.random.Generator) -> Background:
    red, green, blue = (float(value) for value in rng.uniform(0.1, 0.9, size=3))
    shift = rng.uniform(-0.2, 0.2, size=3)
    second = np.clip(np.array([red, green, blue]) + shift, 0, 1)
    return Background(
        color=(red, green, blue),
        second_color=(float(second[0]), float(second[1]), float(second[2])),
        angle=float(rng.uniform(0, 2 * math.pi)),
        texture=TEXTURES[int(rng.integers(len(TEXTURES)))],
        frequency=float(rng.uniform(10.0, 40.0)),
        phase=float(rng.uniform(0, 2 * math.pi)),
        contrast=float(rng.uniform(0.02, 0.08)),
    )


def _draw_distractor(rng: np.random.Generator, background: Background) -> Distractor:
    side = rng.uniform(0, 2 * math.pi)
    course = rng.uniform(0, 2 * math.pi)
    reach, speed = rng.uniform(0.3, 0.45), rng.uniform(0, 0.08)
    return Distractor(
        look=_draw_look(rng, [background.color, background.second_color]),
        size=float(rng.uniform(0.05, 0.085)),
        center=(float(reach * math.cos(side)), float(reach * math.sin(side))),
        drift=(float(speed * math.cos(course)), float(speed * math.sin(course))),
        tilt=float(rng.uniform(0, 2 * math.pi)),
    )


def _draw_orbiter(rng: np.random.Generator, background: Background) -> Orbiter:
    side, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.4)
    rounds = int(rng.integers(1, 3))
    return Orbiter(
        look=_draw_look(rng, [background.color, background.second_color]),
        size=float(rng.uniform(0.07, 0.14)),
        center=(float(reach * math.cos(side)), float(reach * math.sin(side))),
        radii=(float(rng.uniform(0.05, 0.3)), float(rng.uniform(0.05, 0.3))),
        rounds=rounds if rng.random() < 0.5 else -rounds,
        phase=float(rng.uniform(0, 2 * math.pi)),
        tilt=float(rng.uniform(0, 2 * math.pi)),
        in_front=bool(rng.random() < 0.3),
    )


def _make_hard(easy: ClipParameters, rng: np.random.Generator) -> ClipParameters:
    """Add moving things, motion of the camera and a post. Nothing of it tells where in its round the clip began."""
    background = easy.background
    camera = Camera(
        radii=(float(rng.uniform(0, 0.1)), float(rng.uniform(0, 0.1))),
        rounds=int(rng.choice([-1, 1])),
        phase=float(rng.uniform(0, 2 * math.pi)),
    )
    post = Post(
        look=_draw_look(rng, [background.color, background.second_color]),
        angle=float(rng.uniform(0, math.pi)),
        offset=float(rng.uniform(-0.3, 0.3)),
        width=float(rng.uniform(0.03, 0.08)),
    )
    orbiters = tuple(_draw_orbiter(rng, background) for _ in range(int(rng.integers(1, 4))))
    # The one slow thing that drifts would jump where halves are exchanged.
    return replace(easy, distractor=None, orbiters=orbiters, camera=camera, post=post if rng.random() < 0.5 else None)


def draw_parameters(seed: int, index: int, difficulty: Difficulty = "normal") -> ClipParameters:
    """Draw clip `index` of the data set with this `seed`; the same arguments always give the same clip.

    Args:
        seed: seed of the data set, >= 0.
        index: number of the clip in it, >= 0.
        difficulty: `hard` adds to the same clip's parameters what makes it hard.
    """
    normal = _draw_normal(seed, index)
    return _make_hard(normal, np.random.default_rng((seed, index, 1))) if difficulty == "hard" else normal


def _draw_normal(seed: int, index: int) -> ClipParameters:
    rng = np.random.default_rng((seed, index))
    background = _draw_background(rng)
    behind = [background.color, background.second_color]
    look = _draw_look(rng, behind)
    body = [look.color, look.second_color]
    return ClipParameters(
        num_frames=int(rng.integers(MIN_FRAMES, MAX_FRAMES + 1)),
        fps=FRAME_RATES[int(rng.integers(len(FRAME_RATES)))],
        look=look,
        handle_color=_color_unlike(rng, [*behind, *body], 0.4),
        inside_color=_color_unlike(rng, [*behind, *body], 0.4),
        cover=_draw_look(rng, [*behind, *body]),
        background=background,
        distractor=_draw_distractor(rng, background) if rng.random() < 0.5 else None,
        size=float(rng.uniform(0.15, 0.21)),
        center=(float(rng.uniform(-0.06, 0.06)), float(rng.uniform(-0.06, 0.06))),
        tilt=float(rng.uniform(-0.35, 0.35)),
        lead_in=float(rng.uniform(0, 0.12)),
        lead_out=float(rng.uniform(0, 0.12)),
        ease=float(rng.uniform(-0.45, 0.45)),
        bend=float(rng.uniform(-0.45, 0.45)),
        travel=float(rng.uniform(0.42, 0.6)),
        drift=float(rng.uniform(-0.06, 0.06)),
        zoom=float(rng.uniform(1.45, 1.75)),
        turn=float(rng.uniform(2.0, 3.8)),
        opening=float(rng.uniform(0.6, 0.9)),
        cover_angle=float(rng.uniform(0, 2 * math.pi)),
        shake_angle=float(rng.uniform(0, 2 * math.pi)),
        shake_size=float(rng.uniform(0.08, 0.12)),
        shake_tilt=float(rng.uniform(0.35, 0.6)),
        shake_rate=float(rng.uniform(0.15, 0.35)),
        shake_phase=float(rng.uniform(0, 2 * math.pi)),
        exposure=float(rng.uniform(0.3, 0.9)),
        noise=float(rng.uniform(0, 6)),
        noise_seed=int(rng.integers(2**63)),
    )
