"""`gta.open_dataset` in PyTorch's own DataLoader: batches, fresh clips in every epoch, the same in every repetition."""

from pathlib import Path

import jaxtyping
import pytest
import torch
from torch.utils.data import DataLoader, Subset

import gta
from gta.config import ClipConfig
from gta.errors import DataError, OptionError, VideoError
from gta.synthetic import CLASSES, synthesize

CLIP = ClipConfig(num_frames=4, crop_size=32, resize=(36, 48), crop="random")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "videos"
    synthesize(folder, num_videos=24, classes=CLASSES[:2], num_workers=0)
    return folder


@pytest.mark.parametrize(("num_workers", "persistent"), [(0, False), (1, False), (1, True)])
def test_every_epoch_is_fresh_and_every_repetition_the_same(root: Path, num_workers: int, persistent: bool) -> None:
    def epochs() -> list[torch.Tensor]:
        torch.manual_seed(0)
        data = gta.open_dataset(root, "train", clip=CLIP)
        loader = DataLoader(data, batch_size=8, num_workers=num_workers, persistent_workers=persistent)
        return [next(iter(loader))["clip"] if not persistent else _first(loader) for _ in range(2)]

    first, again = epochs(), epochs()
    assert first[0].shape == (8, 3, 4, 32, 32)
    assert first[0].dtype == torch.uint8
    assert not torch.equal(first[0], first[1])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def _first(loader: DataLoader) -> torch.Tensor:
    first, *_ = [batch["clip"] for batch in loader]
    return first  # to the end: workers that stay take the next epoch up from there


def test_indices_that_are_tensors_give_new_clips_in_every_epoch(root: Path) -> None:
    torch.manual_seed(0)
    data = gta.open_dataset(root, "train", clip=CLIP)
    one, other = (data[torch.tensor(3)]["clip"] for _ in range(2))
    assert not torch.equal(one, other)
    loader = DataLoader(Subset(data, torch.arange(4)), batch_size=4)  # pyright: ignore[reportArgumentType]
    one, other = (next(iter(loader))["clip"] for _ in range(2))
    assert not torch.equal(one, other)
    with pytest.raises(TypeError, match="slice"):  # beartype's or, as for users, Python's
        data[0:2]  # pyright: ignore[reportArgumentType]


def test_a_model_trains_and_evaluates_on_it(root: Path) -> None:
    data = gta.open_dataset(root, "val", clip=CLIP)
    batch = next(iter(DataLoader(data, batch_size=2)))
    assert batch["clip"].shape == (2, 1, 3, 4, 32, 32)
    assert set(data.classes) == set(CLASSES[:2])
    model = gta.create_model("tiny_gta", num_classes=2, num_frames=4)
    assert model(gta.prepare(batch["clip"][:, 0], CLIP)).shape == (2, 2)
    with pytest.raises(IndexError, match="out of range"):
        data[len(data)]


def test_arguments_of_other_types_are_told_in_words(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which sees wrong types first, in tests
    with pytest.raises(TypeError, match=r"`clip` is a TrainConfig: give a ClipConfig, such as .*\.data\.clip"):
        gta.open_dataset(root, clip=gta.recipe("synthetic"))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"`dataset` is a PosixPath: give what gta\.open_dataset returns"):
        gta.build_loader(root, batch_size=1, num_workers=0, shuffle=False)  # pyright: ignore[reportArgumentType]
    with pytest.raises(OptionError, match="'3' is not a recipe"):
        gta.recipe(3)  # pyright: ignore[reportArgumentType]


def test_the_own_loader_takes_it_too(root: Path) -> None:
    data = gta.open_dataset(root, "val", clip=CLIP)
    for dataset in (data, data.clips):
        batch = next(iter(gta.build_loader(dataset, batch_size=2, num_workers=0, shuffle=False)))
        assert torch.equal(batch["clip"], torch.stack([data[0]["clip"], data[1]["clip"]]))


def test_unreadable_videos_are_left_out_with_a_warning(root: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "videos"
    shutil.copytree(root, copy)
    broken = sorted(copy.glob("val/*/*.mp4"))[0]
    broken.write_bytes(b"no video" * 50)
    data = gta.open_dataset(copy, "val", clip=CLIP)
    number = [str(record.path) for record in data.clips.videos.records].index(str(broken))
    with pytest.warns(RuntimeWarning, match=f"{broken.name}: left out"):
        total = sum(len(batch["label"]) for batch in DataLoader(data, batch_size=len(data)))
    assert total == len(data) - 1
    with pytest.warns(RuntimeWarning), pytest.raises(VideoError, match=broken.name):
        data[number]
    with pytest.warns(RuntimeWarning), pytest.raises(DataError, match="none of a batch of 1 videos"):
        data.__getitems__([number])
