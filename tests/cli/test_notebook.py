"""In a notebook: everything with worker processes runs, bars are drawn below the cell, results fit on a screen."""

from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

_CELLS = {
    "render": """
import gta
from gta.synthetic import synthesize

summary = synthesize("videos", num_videos=32, num_workers=2, frame_size=(32, 48))
""",
    "train": """
small = {"data.clip.crop_size": 32, "data.clip.resize": 36}
result = gta.train("synthetic", data="videos", output="run", epochs=1, batch_size=4, num_workers=2, **small)
result
""",
    "evaluate": "gta.evaluate(result.best_checkpoint, num_workers=2)",
    "probe": "gta.probe(result.best_checkpoint, num_permutations=1, num_workers=2)",
    "predict": "gta.Predictor.from_checkpoint(result.best_checkpoint).predict('videos/val')[0].labels[0]",
}


class _Client(nbclient.NotebookClient):
    """Notes what each cell draws, also what it draws over later."""

    drawn: dict[int, list[str]]

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] in ("display_data", "update_display_data"):
            self.drawn.setdefault(cell_index, []).append(msg["content"]["data"]["text/plain"])
        return super().process_message(msg, cell, cell_index)


def test_a_notebook_trains_measures_and_predicts(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in _CELLS.values()])
    client = _Client(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.drawn = {}
    client.execute()  # an error in a cell is raised here
    cells = dict(zip(_CELLS, notebook.cells, strict=True))
    drawn = {name: client.drawn.get(number, []) for number, name in enumerate(_CELLS)}
    for name, words in (
        ("render", "rendering"), ("train", "epoch 1/1"), ("train", "validation"),
        ("evaluate", "evaluating"), ("probe", "probing"),
    ):  # fmt: skip
        bars = [text for text in drawn[name] if words in text and "━" in text]
        assert len(bars) >= 2, (name, drawn[name])  # drawn, and redrawn
    for name, cell in cells.items():
        shown = "".join(str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs)
        assert "━" not in shown, name  # bars are gone afterwards
        assert len(shown) < 1500, shown
    (line,) = [text for text in drawn["train"] if text.startswith("epoch 1/1") and "━" not in text]
    assert "validation loss" in line
