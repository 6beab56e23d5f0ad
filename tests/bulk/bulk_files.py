"""A small model and a folder of small videos, some of them broken, for the tests of bulk prediction."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

import gta
from gta.checkpoint import write_checkpoint
from gta.config import ClipConfig, config_to_json
from gta.model_card import describe

CLASSES = ("left", "right", "still")


def write_model(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    model = gta.create_model("tiny_gta", num_classes=len(CLASSES), num_frames=4)
    card = describe(
        model=model.arguments,
        classes=CLASSES,
        clip=config_to_json(ClipConfig(num_frames=4, crop_size=32, resize=(36, 48))),
    )
    write_checkpoint(path, {"gta": card, "state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}})
    return path


def write_video(path: Path, seed: int = 0, num_frames: int = 10) -> Path:
    generator = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 48, 36, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for _ in range(num_frames):
            picture = generator.integers(0, 255, (36, 48, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_folder(folder: Path, num_videos: int, num_broken: int) -> Path:
    """Videos `000.mp4`, ...; the broken ones (empty, text, cut) are spread among them."""
    folder.mkdir(parents=True)
    sources = [write_video(folder.parent / f"source{seed}.mp4", seed) for seed in range(4)]
    broken = {round((place + 0.5) * num_videos / num_broken) for place in range(num_broken)} if num_broken else set()
    contents = (b"", b"this is no video\n", sources[0].read_bytes()[:300])
    for number in range(num_videos):
        path = folder / f"{number:05d}.mp4"
        if number in broken:
            path.write_bytes(contents[number % len(contents)])
        else:
            os.link(sources[number % len(sources)], path)
    return folder
