"""Name the action in a video: python predict_exported.py FOLDER VIDEO (numpy, av, and onnxruntime or openvino)."""

import itertools
import json
import sys
from pathlib import Path

import av
import numpy as np

folder = Path(sys.argv[1])
card = json.loads((folder / "card.json").read_text("utf-8"))
clip, export, model = card["clip"], card["export"], str(folder / next(iter(card["export"]["files"])))
count, side = clip["num_frames"], clip["test_crop_size"] or clip["crop_size"]


def _resize(image, size, axis):  # bilinear or bicubic, with antialiasing, as in training
    scale = image.shape[axis] / size
    x = np.abs(np.arange(image.shape[axis]) + 0.5 - (np.arange(size)[:, None] + 0.5) * scale) / max(scale, 1)
    cubic = np.where(x < 1, (1.5 * x - 2.5) * x**2 + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2) * (x < 2)
    weights = cubic if clip.get("interpolation") == "bicubic" else np.clip(1 - x, 0, None)
    mixed = np.tensordot(weights / weights.sum(1, keepdims=True), image, (1, axis))
    return np.rint(np.moveaxis(mixed, 0, axis).clip(0, 255)).astype(np.uint8)


frames = [np.rot90(f.to_ndarray(format="rgb24"), f.rotation % 360 // 90) for f in av.open(sys.argv[2]).decode(video=0)]
start = (max(len(frames) - count * clip["frame_stride"], 0) + 1) // 2  # the middle clip and crop
dense = [min(start + i * clip["frame_stride"], len(frames) - 1) for i in range(count)]
edges = [round((len(frames) - 1) / count * i) for i in range(count + 1)]
segments = [(low + high) // 2 for low, high in itertools.pairwise(edges)]
tsn = [len(frames) * (2 * i + 1) // (2 * count) for i in range(count)]
chosen = np.stack([frames[i] for i in {"dense": dense, "segments": segments, "tsn": tsn}[clip["sampling"]]])
size, (height, width) = clip["test_resize"] or clip["resize"], chosen.shape[1:3]
if not isinstance(size, list):  # of the short side
    size = [height * size // min(height, width), width * size // min(height, width)]
chosen = _resize(_resize(chosen, size[1], 2), size[0], 1)
crop = min(side, *size)
top, left = (size[0] - crop + 1) // 2, (size[1] - crop + 1) // 2
chosen = _resize(_resize(chosen[:, top : top + crop, left : left + crop], side, 2), side, 1)
batch = np.ascontiguousarray(chosen.transpose(3, 0, 1, 2)[None])  # uint8 (1, 3, T, H, W)
if export["runtime"] == "onnx":
    import onnxruntime

    scores = onnxruntime.InferenceSession(model).run(None, {"clip": batch})[0][0]
else:
    import openvino

    scores = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"clip": batch})[0][0]
print(*(f"{scores[i]:.4f}  {card['classes'][i]}" for i in np.argsort(-scores)[:3]), sep="\n")
