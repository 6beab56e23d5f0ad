"""Everything that works in processes works from a script without a `__main__` guard, as people write them."""

import subprocess
import sys
from pathlib import Path

_SCRIPT = """
print("started")
import gta
from gta.datasets.check import check_videos
from gta.clips.dataset import VideoDataset
from gta.datasets.listing import open_videos
from gta.clips.loader import build_loader
from gta.datasets.prepare import PrepareSettings, prepare_videos
from gta.clips.presets import clip_config
from gta.synthetic import synthesize

summary = synthesize("set", num_videos=32, num_workers=2, frame_size=(32, 48), seed=0)
report = check_videos("set", num_workers=2, decode=False)
prepared = prepare_videos("set", "copy", PrepareSettings(short_side=32), num_workers=2)
dataset = VideoDataset(open_videos("set", "train"), clip_config("paper", crop_size=32), training=True)
loader = build_loader(dataset, batch_size=8, num_workers=2, shuffle=True)
print(summary.num_rendered, report.num_files, prepared.made, sum(len(batch["label"]) for batch in loader))
small = {"data.clip.crop_size": 32, "data.clip.resize": 36}
result = gta.train("synthetic", data="set", output="run", epochs=1, batch_size=4, num_workers=2, **small)
print(gta.evaluate(result.best_checkpoint, num_workers=2).num_videos)
"""


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(_SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.split("\n")
    assert lines[0] == "started"
    rendered, files, made, clips = map(int, lines[1].split())
    assert (rendered, files, made) == (32, 32, 32)
    assert 16 <= clips <= 32
    assert lines[2:] == ["16", ""]
    assert "Traceback" not in done.stderr
