"""Mutated files that the project wrote itself: checkpoints and indices of data sets, read back as their commands do."""

import io
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mutations import mutate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stored"))
from stored_files import CLASSES, CLIP, checkpoint_content, tiny_model


@dataclass(frozen=True)
class StoredCase:
    """One mutated file, and how it is read: a word for the statistics, or an exception."""

    name: str
    file_name: str
    data: bytes
    read: Callable[[Path], str]


def read_checkpoint_as_user(path: Path) -> str:
    """Load for prediction, as starting weights, and for resuming."""
    from gta.checkpoint import load_file
    from gta.errors import CheckpointError
    from gta.models.registry import create_model
    from gta.predictor import Predictor

    refused: CheckpointError | None = None
    try:
        Predictor.from_checkpoint(path, device="cpu")
    except CheckpointError as error:
        refused = error
    try:
        create_model("tiny_gta", num_classes=len(CLASSES), num_frames=CLIP.num_frames, pretrained=str(path))
    except CheckpointError as error:
        refused = refused or error
    if path.suffix == ".ckpt":
        load_file(path)
    if refused is not None:
        raise refused
    return "read"


def read_index_as_user(path: Path) -> str:
    """Load an index and ask it for every file that it knows; damage is announced, and the index is not used."""
    from gta.datasets.index import load_index

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        index = load_index(path.parent, path)
        if index is None:
            assert caught, "the index was dropped in silence"
            return "refused"
        for _, facts in index.items():
            assert facts.num_frames >= 0
            if facts.packets is not None:
                _ = facts.packets.is_one_to_one, facts.packets.num_frames, facts.packets.keyframe_packets
    return "read"


def _edited(content: dict, generator: np.random.Generator) -> bytes:
    """A checkpoint whose contents are well-formed and wrong: one value anywhere in its description or its own."""
    values = [None, -1, 0, 10**12, 1.5, float("nan"), "x", [], {}, [[]], True, "../../x", torch.zeros(2)]
    value = values[generator.integers(len(values))]
    places = [content, content["gta"], content["gta"]["model"], content["gta"]["clip"], content["state_dict"]]
    place = places[generator.integers(len(places))]
    key = list(place)[generator.integers(len(place))]
    if generator.random() < 0.2:
        del place[key]
    else:
        place[key] = value
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def checkpoint_cases(seed: int, count: int) -> Iterator[StoredCase]:
    """Checkpoints and safetensors: damaged bytes, and wrong values in a whole file."""
    from safetensors.torch import save

    buffer = io.BytesIO()
    torch.save(checkpoint_content(), buffer)
    whole = buffer.getvalue()
    model = tiny_model()
    card = {"format": 1, "model": model.arguments, "classes": list(CLASSES)}
    tensors = save({name: value.contiguous() for name, value in model.state_dict().items()}, {"gta": json.dumps(card)})
    for number in range(count):
        generator = np.random.default_rng((seed, number))
        kind = ("damaged", "edited", "tensors")[number % 3]
        if kind == "edited":
            name, data = "x.ckpt", _edited(checkpoint_content(), generator)
        else:
            name, data = ("x.ckpt", whole) if kind == "damaged" else ("x.safetensors", tensors)
            data, _ = mutate(data, generator)
        yield StoredCase(f"{kind} #{number}", name, data, read_checkpoint_as_user)


def index_cases(seed: int, count: int) -> Iterator[StoredCase]:
    """Indices of a data set of a few videos: damaged bytes, and wrong values in a whole file."""
    from gta.datasets.index import VideoFacts
    from gta.video.packets import PacketIndex

    flags = np.zeros(24, np.bool_)
    flags[::8] = True
    packets = PacketIndex(np.arange(24) * 40, flags, np.zeros(24, np.bool_))
    facts = {
        f"train/a/{number}.mp4": VideoFacts(100, 1, num_frames=24, fps=25.0, width=64, height=48, packets=packets)
        for number in range(6)
    }
    facts["train/a/frames"] = VideoFacts(0, 1, num_frames=2, fps=12.0, width=8, height=8, names=("1.png", "2.png"))
    whole = _index_bytes(facts)
    for number in range(count):
        generator = np.random.default_rng((seed, number))
        if number % 2:
            data = _edited_index(whole, generator)
        else:
            data, _ = mutate(whole, generator)
        yield StoredCase(f"index #{number}", "index.npz", data, read_index_as_user)


def _index_bytes(facts: dict) -> bytes:
    import tempfile

    from gta.datasets.index import save_index

    with tempfile.TemporaryDirectory() as folder:
        return save_index(Path(folder), facts).read_bytes()


def _edited_index(whole: bytes, generator: np.random.Generator) -> bytes:
    with np.load(io.BytesIO(whole)) as archive:
        columns = {name: archive[name] for name in archive.files}
    name = list(columns)[generator.integers(len(columns))]
    changes = [
        lambda column: column[:-1] if column.ndim else column + 1,
        lambda column: column.astype(np.float32),
        lambda column: np.zeros_like(column),
        lambda column: np.full_like(column, -1) if column.dtype != np.uint8 else column[::-1].copy(),
        lambda column: np.array("x"),
        lambda column: np.append(column.ravel(), column.ravel()[:1]),
    ]
    columns[name] = changes[generator.integers(len(changes))](columns[name])
    if generator.random() < 0.2:
        del columns[list(columns)[generator.integers(len(columns))]]
    buffer = io.BytesIO()
    np.savez(buffer, **columns)
    return buffer.getvalue()
