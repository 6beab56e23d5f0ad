"""What a checkpoint says of itself is checked before anything is allocated or computed from it."""

import pytest
import stored_files as files
import torch

import gta
from gta.checkpoint import read_checkpoint, write_checkpoint
from gta.cli import run
from gta.errors import CheckpointError
from gta.model_card import ModelCard
from gta.models.restore import build_stored_model
from gta.predictor import Predictor, build_model, clip_protocol
from gta.stored import StoredError

LOOP: list = []
LOOP.append(LOOP)


def changed(part: str | None = None, **values) -> dict:
    card = files.checkpoint_content()["gta"]
    target = card if part is None else card[part]
    target.update(values)
    return card


def test_a_card_survives_being_plain() -> None:
    card = ModelCard.from_plain(changed(source={"file": "x.pyth"}))
    assert card.classes == files.CLASSES
    assert card.clip == files.CLIP
    assert card.notes == {"source": {"file": "x.pyth"}}
    assert ModelCard.from_plain(card.to_plain()) == card


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (changed(format="1"), "format"),
        (changed(format=[LOOP]), "nested too deeply"),
        (changed(model=None), "model is a NoneType"),
        (changed(model=LOOP), "nested too deeply"),
        (changed("model", name=7), "the model's name is 7"),
        (changed("model", num_classes=10**12), "num_classes is 1000000000000: it must be a whole number from 1 to"),
        (changed("model", num_classes=2), "names 3 classes, but its model has 2"),
        (changed("model", num_frames=-1), "num_frames is -1"),
        (changed("model", num_frames=8), "reads 8 frames, but its clips have 4"),
        (changed("model", num_groups=10**9), "num_groups is 1000000000"),
        (changed("model", at={"res4": [0, 10**9]}), "at is 1000000000"),
        (changed("model", inner_channels=10**5000), "too large to print"),
        (changed("model", pretrained="/etc/passwd"), "further weight files"),
        (changed("model", dropout=float("nan")), "nan: it must be a finite number"),
        (changed(classes="left"), "classes must be a list"),
        (changed(classes=["left", 3, "still"]), "the name of a class is 3"),
        (changed(classes=["left", "left", "still"]), "same name"),
        (changed(clip=[]), "its clips"),
        (changed("clip", num_frames=-1), "num_frames is -1"),
        (changed("clip", crop_size=10**12), "crop_size"),
        (changed("clip", crop_size="32"), "crop_size"),
        (changed("clip", sampling="all"), "sampling"),
        (changed("clip", test_clips=10**7), "test_clips"),
        (changed("clip", std=[0.2, 0.0, 0.2]), "std"),
        (changed("clip", test_clips=1000, test_crop_size=4096), "GiB"),
        (changed("clip", colour="red"), "colour"),
        (changed(reversals={"left": "up"}), "'up', which is not among its classes"),
        (changed(versions=["1.0"]), "versions is a list"),
        (changed(note={1, 2}), "holds a set"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, card, words: str) -> None:
    with pytest.raises(StoredError) as caught:
        ModelCard.from_plain(card)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_groups": "8"}, "num_groups is '8'"),
        ({"at": {"res9": 1}}, "res9"),
        ({"num_heads": 0}, "num_heads"),
        ({"num_groups": 7}, "cannot be built"),
        ({"colour": 1}, "'colour' is not an argument"),
        ({"name": "hf-hub:someone/something"}, "cannot be built"),
        ({"name": "tiny", "at": None}, "the weights do not fit the model"),
        ({"name": "r2d50_gta"}, "the weights do not fit the model"),
        ({"inner_channels": 2**20}, "the weights do not fit the model"),
    ],
)
def test_a_model_that_is_not_that_of_the_weights_takes_no_memory(tmp_path, monkeypatch, changes, words: str) -> None:
    content = files.checkpoint_content()
    content["gta"]["model"].update(changes)
    path = files.write_tiny(tmp_path / "x.ckpt", gta=content["gta"])
    built = []
    monkeypatch.setattr("gta.checkpoint.load_weights", built.append)
    with pytest.raises(CheckpointError) as caught:
        build_stored_model(read_checkpoint(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert built == []


def test_a_few_bytes_that_claim_terabytes_are_refused(tmp_path) -> None:
    weights = files.checkpoint_content()["state_dict"]
    name = next(iter(weights))
    for value, words in (
        (torch.zeros(1).expand(2**40), "fewer stored numbers"),
        (torch.zeros(2, 2).to_sparse(), "unusual kind"),
        (torch.zeros(3, device="meta"), "unusual kind"),
        (torch.full((4,), float("nan")), "NaN"),
        ([1, 2], "not a tensor"),
    ):
        path = files.write_tiny(tmp_path / "x.ckpt", state_dict={**weights, name: value})
        with pytest.raises(CheckpointError, match=words):
            read_checkpoint(path)


def test_clips_that_the_model_cannot_read_are_refused_at_once(tmp_path) -> None:
    content = files.checkpoint_content()
    content["gta"]["clip"]["test_crop_size"] = 4
    path = files.write_tiny(tmp_path / "x.ckpt", gta=content["gta"])
    with pytest.raises(CheckpointError, match="frames of 4 pixels"):
        Predictor.from_checkpoint(path, device="cpu")


# ---- averaged weights -----------------------------------------------------------------------------------------------


def with_average() -> tuple[dict, dict]:
    content = files.checkpoint_content()
    raw = {name.removeprefix("model."): value for name, value in content["state_dict"].items()}
    averaged = {name: value + 0.5 if value.is_floating_point() else value.clone() for name, value in raw.items()}
    return content, averaged


def test_the_averaged_weights_are_taken_everywhere(tmp_path, capsys) -> None:
    _, averaged = with_average()
    path = files.write_tiny(tmp_path / "best.ckpt", averaged=averaged)
    started = gta.create_model("tiny_gta", num_classes=3, num_frames=4, pretrained=str(path))
    assert "averaged weights" in started.loaded.summary()
    assert run(["convert", str(path), str(tmp_path / "c.safetensors")]) == 0
    assert "averaged weights" in capsys.readouterr().out
    converted = read_checkpoint(tmp_path / "c.safetensors")
    for found in (
        started.state_dict(),
        build_model(read_checkpoint(path)).state_dict(),
        converted.state_dict,
    ):
        assert found.keys() == averaged.keys()
        assert all(torch.equal(found[name], averaged[name]) for name in averaged)


def test_averages_of_another_model_are_refused(tmp_path) -> None:
    _, averaged = with_average()
    name = next(name for name in averaged if averaged[name].ndim > 1)
    for values in ({**averaged, name: averaged[name][:1]}, {"x": averaged[name]}, [1]):
        path = files.write_tiny(tmp_path / "best.ckpt", averaged=values)
        with pytest.raises(CheckpointError, match="averaged"):
            read_checkpoint(path)


# ---- check sums -----------------------------------------------------------------------------------------------------


def zero_block(path) -> None:
    """Zero 4 KiB in the middle of the largest run of weights, as a bad sector does."""
    content = bytearray(path.read_bytes())
    start = len(content) // 2 & ~4095
    content[start : start + 4096] = bytes(4096)
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors", ".pth"])
def test_every_reader_compares_the_check_sums(tmp_path, capsys, suffix) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".safetensors":
        files.write_tiny(tmp_path / "x.ckpt")
        assert run(["convert", str(tmp_path / "x.ckpt"), str(path)]) == 0
    elif suffix == ".pth":
        torch.save(dict(files.tiny_model().state_dict()), path)
    else:
        files.write_tiny(path)
    zero_block(path)
    with pytest.raises(CheckpointError, match="checksum"):
        gta.create_model("tiny_gta", num_classes=3, num_frames=4, pretrained=str(path))
    assert run(["convert", str(path), str(tmp_path / "out.safetensors")]) == 2
    assert "checksum" in capsys.readouterr().err
    if suffix != ".pth":
        with pytest.raises(CheckpointError, match="checksum"):
            read_checkpoint(path)


def test_converted_weights_predict_if_the_file_says_how(tmp_path) -> None:
    path = files.write_tiny(tmp_path / "x.ckpt")
    assert run(["convert", str(path), str(tmp_path / "c.safetensors")]) == 0
    whole = read_checkpoint(tmp_path / "c.safetensors")
    assert whole.classes == files.CLASSES
    assert clip_protocol(whole) == files.CLIP
    assert run(["convert", str(path), str(tmp_path / "d.safetensors"), "--num-classes", "9"]) == 0
    with pytest.warns(UserWarning, match=r"head.weight, head.bias hold random starting values"):
        predictor = Predictor.from_checkpoint(tmp_path / "d.safetensors", device="cpu")
    assert predictor.classes == tuple(f"class {number}" for number in range(9))


def test_a_weight_that_the_model_does_not_have_is_named(tmp_path) -> None:
    content = files.checkpoint_content()
    content["state_dict"]["model.extra"] = torch.zeros(2)
    write_checkpoint(tmp_path / "x.ckpt", content)
    with pytest.raises(CheckpointError, match="the weights do not fit the model, which has no extra"):
        Predictor.from_checkpoint(tmp_path / "x.ckpt", device="cpu")
