import pytest

from gta.datasets.listing import open_videos
from gta.synthetic import CLASSES, render_clip, synthesize
from gta.video.reading import read_video

SIZE = (32, 48)


@pytest.mark.parametrize("layout", ["folder", "ssv2", "ssv1", "kinetics"])
def test_every_layout_is_read_as_it_was_meant(tmp_path, layout):
    synthesize(tmp_path, layout=layout, num_videos=48, val_fraction=0.3, seed=2, frame_size=SIZE)
    first = 0
    for split, size in (("train", 32), ("val", 16)):
        videos = open_videos(tmp_path, split)
        assert videos.layout == layout
        assert videos.classes == tuple(sorted(CLASSES))
        assert len(videos.records) == size
        wanted = {index: CLASSES[(index - first) % 16] for index in range(first, first + size)}
        for record in videos.records:
            index = number_of(record.path, layout)
            assert videos.classes[record.label] == wanted.pop(index)
            if index % 8 == 0:
                frames = render_clip(videos.classes[record.label], seed=2, index=index, frame_size=SIZE)
                read = read_video(record.path).permute(0, 2, 3, 1).numpy()
                assert read.shape == frames.shape
                assert abs(read.astype(int) - frames).mean() < 12
        assert not wanted
        first += size


def number_of(path, layout):
    if layout == "folder":
        return int(path.stem)
    if layout == "kinetics":
        return int(path.stem.split("_")[0].removeprefix("synth"))
    return int(path.stem) - 1
