"""From parameters to pictures: anti-aliased drawing of all frames of a clip at once, with motion blur and noise.

A class that is played backwards is rendered forwards and then reversed, noise included, so within a pair the frames
of one class are exactly those of the other in opposite order.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gta.synthetic.classes import ACTION_BY_NAME, CLASSES, HARD_CLASSES, ActionClass
from gta.synthetic.motion import COVER_SIZE, Poses, around, largest_step, poses
from gta.synthetic.parameters import (
    Background,
    ClipParameters,
    Color,
    Difficulty,
    Look,
    Orbiter,
    Post,
    Shape,
    Texture,
    draw_parameters,
)

Array = NDArray[np.floating]  # float32 in fact: halves the time of float64

FRAME_SIZE = (72, 96)
"""Default height and width of a frame, in pixels."""
MIN_SIDE = 32
_MAX_SUBFRAMES = 4
_WHITE: Color = (1.0, 1.0, 1.0)
_BLACK: Color = (0.0, 0.0, 0.0)
_CHUNK_PIXELS = 60_000  # drawing so many pixels at a time keeps the intermediate arrays in the processor's cache


def render_clip(
    class_name: str,
    *,
    seed: int = 0,
    index: int = 0,
    frame_size: tuple[int, int] = FRAME_SIZE,
    difficulty: Difficulty = "normal",
) -> NDArray[np.uint8]:
    """Render clip `index` of the data set with this `seed` as if it belonged to `class_name`.

    Args:
        class_name: one of `HARD_CLASSES`.
        seed: seed of the data set, >= 0.
        index: number of the clip, >= 0; it determines everything but the class.
        frame_size: height and width in pixels, each even and at least 32.
        difficulty: `hard` for a clip of the hard variant.

    Returns:
        uint8 (T, H, W, 3), red, green, blue. T varies from clip to clip.
    """
    return render(class_name, draw_parameters(seed, index, difficulty), frame_size=frame_size)


def render(
    class_name: str, parameters: ClipParameters, *, frame_size: tuple[int, int] = FRAME_SIZE
) -> NDArray[np.uint8]:
    """Render the clip that `parameters` describe as `class_name`: uint8 (T, H, W, 3).

    Raises:
        ValueError: the class is unknown or the frame size odd or too small.
    """
    action = _action(class_name, frame_size)
    frames = _expose(action, parameters, parameters.background, frame_size)
    noise = np.random.default_rng(parameters.noise_seed).standard_normal(frames.shape[1:], dtype=np.float32)
    frames *= 255
    frames += noise * np.float32(parameters.noise)
    np.rint(frames, out=frames)
    np.clip(frames, 0, 255, out=frames)
    pictures = np.ascontiguousarray(frames.astype(np.uint8).transpose(1, 2, 3, 0))
    return _in_order(action, pictures)


def render_mask(
    class_name: str, parameters: ClipParameters, *, frame_size: tuple[int, int] = FRAME_SIZE
) -> NDArray[np.uint8]:
    """Render where the action is in the frames of a clip: uint8 (T, H, W), 255 times a share of each pixel.

    It is the share of the pixel's colour that comes from the object, its handle and the cover, if any. It is below 1 at
    outlines, in motion blur, and while something appears. The second, irrelevant object is not included.

    Args:
        class_name: one of `HARD_CLASSES`.
        parameters: what varies from clip to clip, from `gta.synthetic.parameters.draw_parameters`.
        frame_size: height and width in pixels, each even and at least 32.

    Raises:
        ValueError: the class is unknown, or the frame size is odd or too small.
    """
    action = _action(class_name, frame_size)
    white = replace(
        parameters,
        look=_in_white(parameters.look),
        handle_color=_WHITE,
        inside_color=_WHITE,
        cover=_in_white(parameters.cover),
        distractor=None,
        orbiters=tuple(replace(orbiter, look=_in_black(orbiter.look)) for orbiter in parameters.orbiters),
        post=parameters.post and replace(parameters.post, look=_in_black(parameters.post.look)),
    )
    # Everything of interest in white on black: what is drawn then is the share that it has in each pixel.
    shares = _expose(action, white, None, frame_size)[0]
    mask = np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)
    return _in_order(action, mask)


def _in_order(action: ActionClass, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The rendered frames (T, ...) in the order that the class has them."""
    if action.backwards:
        frames = frames[::-1]
    if action.exchanged:
        frames = np.roll(frames, -(len(frames) // 2), axis=0)
    return np.ascontiguousarray(frames)


def _in_black(look: Look) -> Look:
    return replace(look, color=_BLACK, second_color=_BLACK)


def _in_white(look: Look) -> Look:
    return replace(look, color=_WHITE, second_color=_WHITE)


def _action(class_name: str, frame_size: tuple[int, int]) -> ActionClass:
    action = ACTION_BY_NAME.get(class_name)
    if action is None:
        raise ValueError(
            f"'{class_name}' is not one of the {len(CLASSES)} synthetic classes or the {len(HARD_CLASSES)} hard ones"
        )
    height, width = frame_size
    if height < MIN_SIDE or width < MIN_SIDE or height % 2 or width % 2:
        raise ValueError(f"frame size {height}x{width}: both sides must be even and at least {MIN_SIDE} pixels")
    return action


def _expose(
    action: ActionClass, parameters: ClipParameters, background: Background | None, frame_size: tuple[int, int]
) -> Array:
    """Draw (3, T, H, W): each frame is the mean of as many moments of its exposure as its fastest motion needs."""
    count, (height, width) = parameters.num_frames, frame_size
    backdrop = None if parameters.camera else _draw_background(background, *_grid(height, width))
    middles = np.arange(count) / (count - 1)
    open_for = parameters.exposure / (count - 1)
    path = poses(action.motion, parameters, np.linspace(0, 1, 4 * count), returns=action.returns)
    step = largest_step(path) * 4 * min(height, width)
    moments = min(_MAX_SUBFRAMES, max(1, math.ceil(step * parameters.exposure)))
    offsets = open_for * ((np.arange(moments) + 0.5) / moments - 0.5)
    frames = np.empty((3, count, height, width), dtype=np.float32)
    chunk = max(1, _CHUNK_PIXELS // (height * width * moments))
    for first in range(0, count, chunk):
        times = (middles[first : first + chunk, None] + offsets).ravel()
        drawn = _draw(action, parameters, times, background if backdrop is None else backdrop, frame_size)
        frames[:, first : first + chunk] = drawn.reshape(3, -1, moments, height, width).mean(axis=2)
    return frames


def _grid(height: int, width: int) -> tuple[Array, Array]:
    """Coordinates of pixel centres in short sides from the middle: x (1, 1, W) and y (1, H, 1)."""
    short = min(height, width)
    x = ((np.arange(width) + 0.5 - width / 2) / short).astype(np.float32)
    y = ((np.arange(height) + 0.5 - height / 2) / short).astype(np.float32)
    return x[None, None, :], y[None, :, None]


def _pattern(texture: Texture, x: Array, y: Array, frequency: float, phase: float) -> Array | None:
    """How much of the second colour a textured thing shows, in [0, 1]; None for a plain one."""
    if texture == "plain":
        return None
    wave = np.sin(x * np.float32(frequency) + np.float32(phase))
    if texture == "checked":
        wave = wave * np.sin(y * np.float32(frequency) + np.float32(phase))
    return np.clip(0.5 + 2 * wave, 0, 1)


def _draw_background(background: Background | None, x: Array, y: Array) -> Array:
    """Draw the still part of the picture at some coordinates, (3, 1 or N, H, W) in [0, 1]; black if there is none."""
    if background is None:
        return np.zeros((3, *np.broadcast_shapes(x.shape, y.shape)), dtype=np.float32)
    along = x * np.float32(math.cos(background.angle)) + y * np.float32(math.sin(background.angle))
    across = y * np.float32(math.cos(background.angle)) - x * np.float32(math.sin(background.angle))
    share = np.clip(along + 0.5, 0, 1)
    first = np.array(background.color, dtype=np.float32)[:, None, None, None]
    second = np.array(background.second_color, dtype=np.float32)[:, None, None, None]
    picture = first + (second - first) * share
    pattern = _pattern(background.texture, along, across, background.frequency, background.phase)
    if pattern is not None:
        picture = picture + np.float32(background.contrast) * (2 * pattern - 1)
    return np.clip(picture, 0, 1)


def _local(x: Array, y: Array, path_x: Array, path_y: Array, size: Array, angle: Array) -> tuple[Array, Array]:
    """Coordinates (N, H, W) in a thing's own frame, in units of its size, for its N poses."""
    cosine, sine = (np.cos(angle) / size)[:, None, None], (np.sin(angle) / size)[:, None, None]
    dx, dy = x - path_x[:, None, None], y - path_y[:, None, None]
    return dx * cosine + dy * sine, dy * cosine - dx * sine


def _outside(shape: Shape, x: Array, y: Array) -> Array:
    """Signed distance to the outline of a shape of size 1, negative inside (a bound of it near corners)."""
    if shape == "disc":
        return np.hypot(x, y) - 1
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - np.float32(0.85)
    if shape == "triangle":
        flank = np.abs(x) * np.float32(0.866) - y * np.float32(0.5)
        return np.maximum(flank, y) - np.float32(0.62)
    if shape == "hexagon":
        flank = np.abs(x) * np.float32(0.866) + np.abs(y) * np.float32(0.5)
        return np.maximum(flank, np.abs(y)) - np.float32(0.9)
    if shape == "cross":
        wide, high = np.abs(x), np.abs(y)
        return np.minimum(np.maximum(wide - 1, high - np.float32(0.42)), np.maximum(wide - np.float32(0.42), high - 1))
    return np.maximum(np.hypot(x, y) - 1, y - np.float32(0.35))  # dome


def _blend(
    picture: Array, mask: Array, color: Color, second: Color | None = None, pattern: Array | None = None
) -> None:
    """Lay a colour, or a pattern of two, over `picture` (3, N, H, W) where `mask` (N, H, W) is above 0."""
    for channel in range(3):
        layer: Array | np.float32 = np.float32(color[channel])
        if second is not None and pattern is not None:
            layer = layer + np.float32(second[channel] - color[channel]) * pattern
        picture[channel] += mask * (layer - picture[channel])


def _cut(outside: Array, size: Array, short: int) -> Array:
    """Turn a signed distance in units of `size` (N,) into the share of each pixel that is inside, in [0, 1]."""
    return np.clip(0.5 - outside * (size * short)[:, None, None], 0, 1)


def _draw(
    action: ActionClass,
    parameters: ClipParameters,
    times: NDArray[np.float64],
    backdrop: Array | Background | None,
    frame_size: tuple[int, int],
) -> Array:
    """Draw the picture at each of N moments, (3, N, H, W) in [0, 1], from back to front.

    `backdrop` is the still part, drawn already; or what to draw it from, where the camera moves.
    """
    x, y = fixed = _grid(*frame_size)
    short = min(frame_size)
    # In rounds: whatever goes round begins anew one frame after the last, so nothing jumps where halves are exchanged.
    rounds = times * (1 - 1 / parameters.num_frames)
    if parameters.camera is not None:
        camera = parameters.camera
        shift_x, shift_y = around(camera.radii, camera.rounds, camera.phase, rounds)
        x, y = x + shift_x[:, None, None], y + shift_y[:, None, None]
    path = poses(action.motion, parameters, times, returns=action.returns)
    if isinstance(backdrop, np.ndarray):
        picture = np.repeat(backdrop, len(times), axis=1)
    else:
        picture = _draw_background(backdrop, x, y)
    _draw_distractor(picture, parameters, times, x, y, short)
    _draw_orbiters(picture, [thing for thing in parameters.orbiters if not thing.in_front], rounds, x, y, short)
    _draw_object(picture, parameters, path, x, y, short)
    if path.cover is not None:
        _draw_cover(picture, parameters, path, path.cover, x, y, short)
    _draw_orbiters(picture, [thing for thing in parameters.orbiters if thing.in_front], rounds, x, y, short)
    if parameters.post is not None:
        _draw_post(picture, parameters.post, *fixed, short)
    return picture


def _draw_orbiters(
    picture: Array, orbiters: list[Orbiter], rounds: NDArray[np.float64], x: Array, y: Array, short: int
) -> None:
    for thing in orbiters:
        path_x, path_y = around(thing.radii, thing.rounds, thing.phase, rounds)
        size, tilt = np.full_like(path_x, thing.size), np.full_like(path_x, thing.tilt)
        local = _local(x, y, path_x + np.float32(thing.center[0]), path_y + np.float32(thing.center[1]), size, tilt)
        _draw_thing(picture, thing.look, *local, _cut(_outside(thing.look.shape, *local), size, short))


def _draw_post(picture: Array, post: Post, x: Array, y: Array, short: int) -> None:
    along = x * np.float32(math.cos(post.angle)) + y * np.float32(math.sin(post.angle))
    across = y * np.float32(math.cos(post.angle)) - x * np.float32(math.sin(post.angle)) - np.float32(post.offset)
    width = np.full(1, post.width, dtype=np.float32)
    mask = _cut(np.abs(across / post.width) - 1, width, short)
    _draw_thing(picture, post.look, along / np.float32(post.width), across / np.float32(post.width), mask)


def _draw_distractor(
    picture: Array, parameters: ClipParameters, times: NDArray[np.float64], x: Array, y: Array, short: int
) -> None:
    thing = parameters.distractor
    if thing is None:
        return
    along = (times - 0.5).astype(np.float32)
    size, tilt = np.full_like(along, thing.size), np.full_like(along, thing.tilt)
    path_x, path_y = thing.center[0] + thing.drift[0] * along, thing.center[1] + thing.drift[1] * along
    local_x, local_y = _local(x, y, path_x, path_y, size, tilt)
    _draw_thing(picture, thing.look, local_x, local_y, _cut(_outside(thing.look.shape, local_x, local_y), size, short))


def _draw_thing(picture: Array, look: Look, x: Array, y: Array, mask: Array) -> None:
    pattern = _pattern(look.texture, x, y, look.frequency, look.phase)
    _blend(picture, mask, look.color, look.second_color, pattern)


def _draw_object(picture: Array, parameters: ClipParameters, path: Poses, x: Array, y: Array, short: int) -> None:
    """Draw the object: a handle that shows which way is up, the body, and what is seen inside through an open slit."""
    local_x, local_y = _local(x, y, path.x, path.y, path.size, path.angle)
    opacity = path.opacity[:, None, None]
    handle = np.maximum(np.abs(local_x) - np.float32(0.22), np.abs(local_y + 1) - np.float32(0.5))
    _blend(picture, _cut(handle, path.size, short) * opacity, parameters.handle_color)
    body = _cut(_outside(parameters.look.shape, local_x, local_y), path.size, short) * opacity
    if not path.opening.any():
        _draw_thing(picture, parameters.look, local_x, local_y, body)
        return
    slit = path.opening[:, None, None]
    _blend(picture, body, parameters.inside_color)
    edge = np.clip(0.5 + (np.abs(local_x) - slit) * (path.size * short)[:, None, None], 0, 1)
    leaf_x = local_x - np.sign(local_x) * slit  # each half of the body has slid outwards by the half-width of the slit
    leaves = _cut(_outside(parameters.look.shape, leaf_x, local_y), path.size, short) * np.where(slit > 0, edge, 1)
    _draw_thing(picture, parameters.look, leaf_x, local_y, leaves)


def _draw_cover(
    picture: Array, parameters: ClipParameters, path: Poses, distance: Array, x: Array, y: Array, short: int
) -> None:
    """Draw a square sheet that lies `distance` (N,) from the object, on the side it comes from."""
    side = parameters.cover_angle
    size = path.size * np.float32(COVER_SIZE)
    path_x = path.x + distance * np.float32(math.cos(side))
    path_y = path.y + distance * np.float32(math.sin(side))
    local_x, local_y = _local(x, y, path_x, path_y, size, path.angle)
    mask = _cut(np.maximum(np.abs(local_x), np.abs(local_y)) - 1, size, short)
    _draw_thing(picture, parameters.cover, local_x, local_y, mask)
