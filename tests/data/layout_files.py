"""Files of data sets for tests of their layouts."""

from pathlib import Path

from gta.datasets.layouts.common import UNKNOWN_LABEL
from gta.datasets.listing import open_videos


def touch(path: Path) -> Path:
    """A video as far as listing is concerned: no layout opens the files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def listed(root, split, **options):
    """File name -> class name."""
    videos = open_videos(root, split, **options)
    return {
        record.path.name: None if record.label == UNKNOWN_LABEL else videos.classes[record.label]
        for record in videos.records
    }
