"""A folder as the documentation assumes it: a video, a data set and trained models, all small."""

from pathlib import Path

import pytest
from documented import CLIP_CROP


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clip.mp4`, `videos.csv` (a list), `videos` (a data set), `runs/mine` (GTA) and `runs/nl` (NL)."""
    import gta
    from gta.synthetic import synthesize, write_clip

    folder = tmp_path_factory.mktemp("prepared")
    synthesize(folder / "videos", num_videos=48, seed=0, num_workers=1, frame_size=(48, 64))
    write_clip(folder / "clip.mp4", "Opening something", seed=5, index=0, frame_size=(48, 64))
    (folder / "videos.csv").write_text("path\nclip.mp4\n")
    for name, model in (("mine", "tiny_gta"), ("nl", "tiny_nl")):
        gta.train(
            "synthetic",
            data=folder / "videos",
            model=model,
            output=folder / "runs" / name,
            epochs=1,
            num_workers=0,
            **{"data.clip.crop_size": CLIP_CROP, "run.accelerator": "cpu"},
        )
    return folder
