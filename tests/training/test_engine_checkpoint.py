from pathlib import Path

import engine_fakes as fakes
import pytest
import torch

from gta.checkpoint import load_weights, read_checkpoint, write_checkpoint
from gta.errors import CheckpointError, RunFolderError


def stored(**changes):
    weights = {f"model.{name}": value for name, value in fakes.model().state_dict().items()}
    return {"gta": fakes.description(), "state_dict": weights, "epoch": 3, "global_step": 40, **changes}


def test_a_checkpoint_describes_itself(tmp_path) -> None:
    write_checkpoint(tmp_path / "a.ckpt", stored())
    checkpoint = read_checkpoint(tmp_path / "a.ckpt")
    assert checkpoint.classes == fakes.CLASSES
    assert checkpoint.reversals == fakes.REVERSALS
    assert (checkpoint.epoch, checkpoint.step) == (3, 40)
    assert checkpoint.card.versions["torch"] == str(torch.__version__)
    load_weights(fakes.FakeModel(), checkpoint)


def write(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("no checkpoint")
    elif kind == "empty":
        path.touch()
    elif kind == "plain":
        torch.save({"weight": torch.zeros(2)}, path)
    elif kind == "code":
        torch.save({"gta": fakes.description(), "state_dict": {}, "model": fakes.FakeModel()}, path)
    elif kind == "cut":
        write_checkpoint(path, stored())
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "overwritten":
        write_checkpoint(path, stored(averaged={"filler": torch.ones(4096)}))
        content = bytearray(path.read_bytes())
        start = content.index(torch.ones(4096).numpy().tobytes())
        content[start + 4000 : start + 8000] = bytes(4000)
        path.write_bytes(content)
    elif kind == "newer":
        write_checkpoint(path, stored(gta={**fakes.description(), "format": 99}))
    elif kind == "no weights":
        write_checkpoint(path, stored(state_dict={}))
    elif kind == "no classes":
        write_checkpoint(path, stored(gta={k: v for k, v in fakes.description().items() if k != "classes"}))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "damaged, or of another kind"),
        ("empty", "damaged, or of another kind"),
        ("plain", "not a gta checkpoint"),
        ("code", "read safely"),
        ("cut", "damaged"),
        ("overwritten", "checksums"),
        ("newer", "format 99"),
        ("no weights", "no model weights"),
        ("no classes", "lacks classes"),
        ("missing", "no such checkpoint file"),
    ],
)
def test_every_other_file_is_one_clear_line(tmp_path, kind: str, words: str) -> None:
    path = tmp_path / "x.ckpt"
    write(path, kind)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_points_to_the_file_in_it(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"best\.ckpt"):
        read_checkpoint(tmp_path)


def test_weights_that_do_not_fit_name_the_first_difference(tmp_path) -> None:
    write_checkpoint(tmp_path / "a.ckpt", stored())
    with pytest.raises(CheckpointError, match="head"):
        load_weights(fakes.FakeModel(num_classes=9), read_checkpoint(tmp_path / "a.ckpt"))


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((RunFolderError, FileExistsError), match="file"):
        write_checkpoint(tmp_path / "file" / "a.ckpt", stored())
