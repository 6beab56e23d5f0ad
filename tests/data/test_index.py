"""The index that `gta data check` leaves beside a data set: kept, continued, and not believed where it is damaged."""

import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from gta.datasets.check import check_videos, look_at
from gta.datasets.index import load_index
from gta.datasets.listing import open_videos
from video_files import encode


def test_check_makes_a_damaged_index_anew(data):
    check_videos(data, num_workers=0)
    index = data / ".gta-index.npz"
    index.write_bytes(index.read_bytes()[:-200])
    with pytest.warns(UserWarning, match="the index is damaged"):
        assert check_videos(data, num_workers=0).num_files == 7
    assert len(load_index(data)) == 7


@pytest.mark.parametrize("seed", range(3))
def test_a_mutated_index_is_used_or_announced(data, seed):
    check_videos(data, num_workers=0)
    index = data / ".gta-index.npz"
    original, generator = index.read_bytes(), np.random.default_rng(seed)
    for _ in range(60):
        mutated = bytearray(original)
        for place in generator.integers(0, len(mutated), generator.integers(1, 6)):
            mutated[place] = generator.integers(256)
        index.write_bytes(
            bytes(mutated[: generator.integers(1, len(mutated) + 1)] if generator.random() < 0.3 else mutated)
        )
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            videos = open_videos(data, "train")
            for record in videos.records if videos.index is not None else ():
                facts = videos.index.get(record.path)
                if facts is not None and facts.problem is None:
                    assert facts.num_frames >= 0
                    assert facts.packets is None or isinstance(facts.packets.is_one_to_one, bool)


def _columns(data):
    with np.load(data / ".gta-index.npz") as archive:
        return {name: archive[name] for name in archive.files}


@pytest.mark.parametrize(
    "change",
    [
        lambda columns: columns.pop("fps"),
        lambda columns: columns.update(sizes=columns["sizes"][:-1]),
        lambda columns: columns.update(num_frames=columns["num_frames"].astype(np.float32)),
        lambda columns: columns.update(num_frames=-columns["num_frames"] - 1),
        lambda columns: columns.update(num_frames=columns["num_frames"] + (1 << 60)),
        lambda columns: columns.update(offsets=columns["offsets"][::-1].copy()),
        lambda columns: columns.update(offsets=columns["offsets"] * 1000),
        lambda columns: columns.update(kinds=columns["kinds"] + 7),
        lambda columns: columns.update(fps=columns["fps"] * np.nan),
        lambda columns: columns.update(blobs=np.array(["x"], object)),
        lambda columns: columns.update(paths=np.frombuffer(zlib.compress(bytes(300 << 20), 1), np.uint8)),
        lambda columns: columns.update(texts=columns["texts"][:5]),
    ],
)
def test_an_index_that_holds_what_none_does_is_not_believed(data, change):
    check_videos(data, num_workers=0, decode=False)
    columns = _columns(data)
    change(columns)
    np.savez(data / ".gta-index.npz", **columns)
    with pytest.warns(UserWarning, match="the index is damaged"):
        assert load_index(data) is None


def test_names_in_an_index_never_lead_out_of_a_folder(tmp_path):
    folder = tmp_path / "train" / "a" / "frames"
    folder.mkdir(parents=True)
    for number in range(9):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    check_videos(tmp_path, num_workers=0)
    columns = _columns(tmp_path)
    blob = np.frombuffer(zlib.compress(b"../../../secret1.png"), np.uint8)
    np.savez(tmp_path / ".gta-index.npz", **columns | {"blobs": blob, "offsets": np.array([0, len(blob)])})
    assert load_index(tmp_path).get(folder) is None


def test_what_is_known_of_other_lists_and_of_a_quick_check_stays(data, monkeypatch):
    check_videos(data, "folder", num_workers=0, decode=False)
    names = {name for name, _ in load_index(data).items()}
    assert len(names) == 7
    (data / "train" / "class 0" / "0.mp4").unlink()

    def stop(path, *, decode):
        raise KeyboardInterrupt

    monkeypatch.setattr("gta.datasets.check.look_at", stop)
    with pytest.raises(KeyboardInterrupt):
        check_videos(data, "folder", num_workers=0)
    assert {name for name, _ in load_index(data).items()} == names - {"train/class 0/0.mp4"}


def test_a_file_that_could_not_be_read_for_the_moment_is_looked_at_again(data, monkeypatch):
    def fail(path, video):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("gta.datasets.check._digest", fail)
        report = check_videos(data, num_workers=0)
    assert report.damaged["train/class 0/0.mp4"] == "it cannot be read (Input/output error)"
    assert load_index(data).get(data / "train" / "class 0" / "0.mp4") is None
    assert list(check_videos(data, num_workers=0).damaged) == ["train/class 1/bad.mp4"]


def test_check_does_nothing_twice_and_goes_on_where_it_stopped(data, monkeypatch):
    looked = []

    def stopping(path, *, decode):
        looked.append(path.name)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return look_at(path, decode=decode)

    monkeypatch.setattr("gta.datasets.check.look_at", stopping)
    with pytest.raises(KeyboardInterrupt):
        check_videos(data, num_workers=0)
    monkeypatch.setattr(
        "gta.datasets.check.look_at", lambda path, *, decode: looked.append(path.name) or look_at(path, decode=decode)
    )
    check_videos(data, num_workers=0)
    assert len(looked) == 4 + 4  # three were done when it stopped at the fourth
    assert check_videos(data, num_workers=0).num_files == 7
    assert len(looked) == 8
    encode(data / "train" / "class 0" / "new.mp4", num_frames=9)
    check_videos(data, num_workers=0)
    assert looked[8:] == ["new.mp4"]
