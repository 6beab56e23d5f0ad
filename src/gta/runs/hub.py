"""From a checkpoint to a repository on a hub, or a folder that looks like one."""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from gta.checkpoint import read_checkpoint, write_safetensors
from gta.config import ClipConfig
from gta.errors import OptionError
from gta.files import write_json, write_text
from gta.hub import WEIGHTS, check_name, push_folder
from gta.models.classifier import VideoClassifier
from gta.models.frozen import KEY as FROZEN
from gta.models.restore import build_stored_model
from gta.runs.hub_card import RunFacts, hub_page

_TIMED = 5


def write_repository(checkpoint: str | Path, name: str, folder: Path) -> None:
    """Write what a repository holds: `model.safetensors`, `config.json` (the card) and `README.md` (the page).

    Args:
        checkpoint: file of a training run; the page also uses the files next to it.
        name: `owner/name` of the repository, which the page says how to use.
        folder: made if missing.

    Raises:
        CheckpointError: the checkpoint is missing, damaged, or of a model that cannot be built.
    """
    stored = read_checkpoint(checkpoint)
    model = build_stored_model(stored)
    folder.mkdir(parents=True, exist_ok=True)
    # A checkpoint may leave out the frozen backbone that it was trained with; a repository holds the whole network.
    card = {name: value for name, value in stored.card.to_plain().items() if name != FROZEN}
    write_safetensors(folder / WEIGHTS, {name: v.contiguous() for name, v in model.state_dict().items()}, card)
    write_json(folder / "config.json", card)
    page = hub_page(
        name,
        stored.card,
        RunFacts.beside(stored.path),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        latency_ms=_latency_ms(model, _side(stored.card.clip)),
    )
    write_text(folder / "README.md", page)


def push(checkpoint: str | Path, name: str, *, folder: Path | None = None, private: bool = False) -> str:
    """Put a model on the hub, or into a local folder.

    Args:
        checkpoint: file of a training run.
        name: `owner/name`.
        folder: write the repository here and upload nothing.
        private: make a new repository private.

    Returns:
        Where it is now.

    Raises:
        GtaError: the name or the checkpoint does not fit, or the hub cannot be reached or refuses.
    """
    check_name(name)
    if folder is not None:
        if folder.exists() and any(folder.iterdir()):
            raise OptionError(f"{folder}: this folder is not empty; choose another one")
        write_repository(checkpoint, name, folder)
        return str(folder / WEIGHTS)
    with tempfile.TemporaryDirectory(prefix="gta-push-") as place:
        write_repository(checkpoint, name, Path(place))
        return push_folder(Path(place), name, private=private, message="Add the model")


def _side(clip: ClipConfig | None) -> int:
    """Height and width of the clips that are predicted."""
    return 224 if clip is None else clip.test_crop_size or clip.crop_size


def _latency_ms(model: VideoClassifier, side: int) -> float:
    """Median milliseconds of one clip on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: list[float] = []
    try:
        with torch.inference_mode():
            clip = torch.zeros(1, model.in_channels, model.num_frames, side, side)
            for _ in range(_TIMED + 1):
                start = time.perf_counter()
                model(clip)
                times.append(1000 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times[1:])
