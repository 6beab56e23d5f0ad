"""One still picture file as an RGB tensor: the frames of folders."""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from gta.errors import VideoError
from gta.video.limits import MemoryBudget, boundary

# Largest values of the number ranges that grey pictures of more than 8 bits are stored in.
_BYTE, _WORD, _LONG = 2**8 - 1, 2**16 - 1, 2**31 - 1
# Pillow decodes, converts and turns: so many pictures of 4 bytes a pixel at a time.
_PICTURES_AT_WORK = 2


def read_picture(folder: Path, name: str, budget: MemoryBudget) -> torch.Tensor:
    """Decode one picture of a folder of frames, upright, as uint8 (3, H, W), channels last in memory.

    Raises:
        VideoError: it is missing, damaged, or too large.
    """
    with boundary(folder, f"{name} cannot be read"):
        try:
            data = (folder / name).read_bytes()
        except FileNotFoundError:
            raise VideoError(folder, f"{name} is missing") from None
    if not data:
        raise VideoError(folder, f"{name} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's bomb warning: the budget says it more exactly
            picture = Image.open(io.BytesIO(data))
            budget.decoder(*picture.size, 4.0, _PICTURES_AT_WORK)
            picture = ImageOps.exif_transpose(picture)
            pixels = np.array(_eight_bits(picture).convert("RGB"))
    except VideoError:
        raise
    except Exception as error:  # Pillow's readers let through whatever a damaged file makes them do
        reason = str(error).replace(repr(data), "").partition("<_io")[0].strip(" .") or "not a picture"
        raise VideoError(folder, f"{name} is damaged ({' '.join(reason.split())[:200]})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale a grey picture of more than 8 bits by the range of its numbers, as video does; others stay as they are.

    Pillow would cut everything above 255 to white. Pictures of the mode `I;16` use 16 bits. In the modes `I` (32-bit
    integers) and `F` (floating point) the file does not tell; the range is the smallest usual one that holds the
    picture's values: 16 or 31 bits for `I`; [0, 1], 8, 16 or 31 bits for `F`.
    """
    if not (picture.mode.startswith("I") or picture.mode == "F"):
        return picture
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it contains NaN or infinite values")
    highest = float(values.max(initial=0.0))
    if picture.mode.startswith("I;16"):
        top = _WORD
    else:
        ranges = (1, _BYTE, _WORD, _LONG) if picture.mode == "F" else (_WORD, _LONG)
        top = next((range_ for range_ in ranges if highest <= range_), None)
        if top is None:
            raise ValueError(f"it holds values up to {highest:g}")
    scaled = (values * (_BYTE / top) + 0.5).clip(0, _BYTE)
    return Image.fromarray(scaled.astype(np.uint8), mode="L")
