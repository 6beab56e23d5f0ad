"""`--model.freeze backbone`: what trains, what stays, and checkpoints that hold only what trained."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from gta.checkpoint import load_file, read_checkpoint
from gta.cli import run
from gta.config import OptimConfig
from gta.models.frozen import describe_frozen
from gta.models.pretrained import save_weights
from gta.models.registry import create_model
from gta.predictor import Predictor
from gta.synthetic import CLASSES, synthesize
from gta.training.optim import create_optimizer, parameter_groups

SMALL = ["--run.max-epochs=1", "--data.num-workers=0", "--data.batch-size=4", "--data.clip.crop-size=32"]
SMALL += ["--run.accelerator=cpu", "--model.num-frames=4", "--data.clip.num-frames=4"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Videos, the weights of a backbone, and a run on it with its backbone frozen."""
    folder = tmp_path_factory.mktemp("frozen")
    synthesize(folder / "videos", num_videos=16, val_fraction=0.5, classes=CLASSES[:4], frame_size=(48, 64))
    torch.manual_seed(3)
    save_weights(create_model("tiny", num_classes=9, num_frames=4), folder / "backbone.safetensors")
    assert run(words(folder, folder / "run")) == 0
    return folder


def words(place: Path, folder: Path, *more: str) -> list[str]:
    backbone = ["--model.freeze=backbone", f"--model.pretrained={place / 'backbone.safetensors'}"]
    common = ["--model.name=tiny_gta", "--optim.ema-decay=0.9", *SMALL, *backbone]
    return ["train", "synthetic", f"--data.root={place / 'videos'}", f"--run.folder={folder}", *common, *more]


@pytest.mark.parametrize(
    "name", ["tiny_gta", "tiny_tsm_tape", "tiny_c2d_nl", "tiny_slowfast_gta", "mobilenetv3_small_050_gta"]
)
@pytest.mark.parametrize("train_norms", [False, True])
def test_only_attention_and_head_train_and_the_rest_keeps_every_number(name: str, train_norms: bool) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, num_frames=16 if "slowfast" in name else 4, dropout=0.0)
    model.freeze_backbone(train_norms=train_norms)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    frozen = set(model.frozen_weights())
    optimizer = create_optimizer(model, OptimConfig(optimizer="adamw", scale_lr=False), global_batch=2)
    model.train()
    for _ in range(3):  # the first gradient of a fresh block reaches only its gamma
        model(torch.randn(2, 3, model.num_frames, 64, 64)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert not changed & frozen
    assert {"head.weight", "head.bias"} <= changed
    assert any(key.endswith(".mixing") for key in changed) or "gta" not in name
    outside = {key for key in changed if ".attention." not in key and not key.startswith("head.")}
    assert bool(outside) == train_norms
    assert not any(key.endswith(("running_mean", "running_var")) for key in outside)
    assert {key for key in before if ".attention." not in key and not key.startswith("head.")} == frozen | outside


def test_the_optimiser_sees_only_what_trains() -> None:
    model = create_model("tiny_gta", num_classes=3, num_frames=4)
    model.freeze_backbone()
    seen = {id(value) for group in parameter_groups(model, OptimConfig()) for value in group["params"]}
    names = {key for key, value in model.named_parameters() if id(value) in seen}
    assert names == {key for key, _ in model.named_parameters() if ".attention." in key or key.startswith("head.")}


def test_nothing_is_kept_for_the_backward_pass_before_the_first_attention() -> None:
    model = create_model("tiny_gta", num_classes=3, num_frames=4)

    def kept() -> int:
        sizes: dict[int, int] = {}
        own = {value.data_ptr() for value in model.parameters()}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.data_ptr() not in own:
                sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(torch.randn(2, 3, 4, 64, 64))
        return sum(sizes.values())

    full = kept()
    model.freeze_backbone()
    assert kept() < 0.5 * full


def test_the_checkpoint_holds_what_trains_and_the_backbones_name_and_digest(place: Path) -> None:
    content = load_file(place / "run" / "best.ckpt")
    names = {key.removeprefix("model.") for key in content["state_dict"]}
    assert all(".attention." in key or key.startswith("head.") for key in names)
    assert set(content["averaged"]) == names
    frozen = content["gta"]["frozen"]
    assert frozen["backbone"] == "tiny_gta"
    assert len(frozen["digest"]) == 64
    assert Path(frozen["pretrained"]) == (place / "backbone.safetensors").absolute()


def test_it_evaluates_predicts_probes_and_starts_another_run(place: Path, tmp_path: Path, capsys) -> None:
    best = place / "run" / "best.ckpt"
    assert run(["evaluate", str(best), "--num-workers=0"]) == 0
    assert run(["probe", str(best), "--num-workers=0", f"--output={tmp_path / 'probe'}"]) == 0
    model: Any = Predictor.from_checkpoint(best, device="cpu").model
    backbone = create_model("tiny", num_classes=9, num_frames=4, pretrained=str(place / "backbone.safetensors"))
    stem = "backbone.network.conv1.0.weight"
    assert torch.equal(model.state_dict()[stem], backbone.state_dict()[stem])
    assert run(words(place, tmp_path / "next", f"--model.pretrained={best}")) == 0
    again = read_checkpoint(tmp_path / "next" / "best.ckpt")
    assert again.card.notes["frozen"] == read_checkpoint(best).card.notes["frozen"]


def test_norms_that_trained_in_the_run_before_are_stored(place: Path, tmp_path: Path, capsys) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert run(words(place, first, "--model.train-norms")) == 0
    assert run(words(place, second, f"--model.pretrained={first / 'best.ckpt'}")) == 0
    assert "checkpoints hold the whole network" in capsys.readouterr().err
    assert run(words(place, third, f"--model.pretrained={second / 'best.ckpt'}")) == 0  # whose own backbone is a source
    frozen = read_checkpoint(third / "best.ckpt").card.notes["frozen"]
    assert Path(frozen["pretrained"]) == second / "best.ckpt"  # type: ignore[index]
    for folder in (second, third):
        assert run(["evaluate", str(folder / "best.ckpt"), "--num-workers=0"]) == 0
    norm = "backbone.network.conv1.1.weight"
    trained, kept = (
        Predictor.from_checkpoint(f / "best.ckpt", device="cpu").model.state_dict() for f in (first, third)
    )
    assert torch.equal(trained[norm], kept[norm])


def test_the_source_is_named_whatever_else_the_next_run_leaves_out(place: Path) -> None:
    best = str(place / "run" / "best.ckpt")
    model = create_model("tiny_gta", num_classes=7, num_frames=4, pretrained=best)
    model.freeze_backbone(train_norms=True)
    state = torch.get_rng_state()
    frozen = describe_frozen(model, best)
    assert torch.equal(torch.get_rng_state(), state)
    assert frozen is not None
    assert frozen.train_norms
    assert Path(frozen.pretrained) == (place / "backbone.safetensors").absolute()


def test_resuming_gives_the_numbers_of_a_run_in_one_piece(place: Path, tmp_path: Path) -> None:
    assert run(words(place, tmp_path / "whole", "--run.max-epochs=2", "--optim.schedule=constant")) == 0
    assert run(words(place, tmp_path / "parts", "--optim.schedule=constant")) == 0
    assert run(words(place, tmp_path / "parts", "--run.max-epochs=2", "--optim.schedule=constant", "--resume")) == 0
    one, two = (load_file(tmp_path / name / "last.ckpt") for name in ("whole", "parts"))
    for key, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][key]), key
    for key, value in one["averaged"].items():
        assert torch.equal(value, two["averaged"][key]), key


def test_other_weights_of_the_backbone_are_refused(place: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    moved = tmp_path / "run" / "backbone.safetensors"
    backbone = place / "backbone.safetensors"
    kept = backbone.rename(tmp_path / "kept.safetensors")
    best = ["evaluate", str(tmp_path / "run" / "best.ckpt"), str(place / "videos"), "--num-workers=0"]
    try:
        assert run(best) == 2
        assert "put backbone.safetensors next to it" in capsys.readouterr().err
        shutil.copy(kept, moved)
        assert run(best) == 0
        torch.manual_seed(4)
        save_weights(create_model("tiny", num_classes=9, num_frames=4), moved)
        capsys.readouterr()
        assert run(best) == 2
        said = capsys.readouterr().err
        assert "other backbone weights" in said
        assert said.count("\n") == 1
        torch.manual_seed(4)
        save_weights(create_model("tiny", num_classes=9, num_frames=4), backbone)
        assert run(words(place, tmp_path / "run", "--run.max-epochs=2", "--resume")) == 2
        assert "other weights of its frozen backbone" in capsys.readouterr().err
    finally:
        shutil.move(kept, backbone)


@pytest.mark.parametrize("more", [["--run.full-checkpoints"], ["--model.pretrained=None"]])
def test_whole_checkpoints_on_request_and_where_the_backbone_started_at_random(place, tmp_path, more, capsys) -> None:
    assert run(words(place, tmp_path / "run", *more)) == 0
    assert "checkpoints hold the whole network" in capsys.readouterr().err
    content = load_file(tmp_path / "run" / "best.ckpt")
    assert "frozen" not in content["gta"]
    assert "model.backbone.network.conv1.0.weight" in content["state_dict"]


def test_norms_that_train_need_a_frozen_backbone(capsys) -> None:
    assert run(["train", "synthetic", "--model.train-norms", "--print"]) == 2
    assert "--model.freeze backbone" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [{"frozen": 3}, {"frozen": {"backbone": "tiny"}}])
def test_a_damaged_entry_is_one_clear_line(place: Path, tmp_path: Path, capsys, damage) -> None:
    content = load_file(place / "run" / "best.ckpt")
    content["gta"].update(damage)
    torch.save(content, tmp_path / "bad.ckpt")
    assert run(["evaluate", str(tmp_path / "bad.ckpt"), str(place / "videos"), "--num-workers=0"]) == 2
    assert "frozen" in capsys.readouterr().err
