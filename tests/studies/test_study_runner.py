"""Cells are run once, a few at a time, stopped cleanly, and failures do not stop the others."""

import json
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from rich.console import Console

from gta.errors import RunFolderError
from gta.studies.folder import check_folder, claim_folder, finished_seeds, sole_user, stored_study
from gta.studies.grids import Budget, Grid, Row
from gta.studies.progress import progress_table, shown
from gta.studies.results import RESULT, result_to_json
from gta.studies.runner import LOG, failure, plan_cells, run_cells, states

GRID = Grid(
    "g", "G", "?", (Row("a", "A", "tiny"), Row("b", "B", "tiny_gta")), references=("a",), budget=Budget(epochs=3)
)


def starter(result, script="", *, fail=(), seconds=0.0):
    """Start small Python processes that write a result, or fail, as cells do."""

    def start(cell):
        cell.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(result_to_json(result(cell.row.key, cell.seed)))
        code = f"import sys,time,pathlib; time.sleep({seconds}); "
        code += script
        if cell.row.key in fail:
            code += "sys.exit('no luck')"
        else:
            code += f"pathlib.Path({str(cell.folder / RESULT)!r}).write_text({content!r})"
        with (cell.folder / LOG).open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=log)

    return start


def test_all_cells_run_and_are_not_run_again(result, tmp_path):
    cells = plan_cells(GRID, (0, 1), tmp_path)
    assert [cell.name for cell in cells] == ["a, seed 0", "b, seed 0", "a, seed 1", "b, seed 1"]
    most = []
    run_cells(cells, jobs=2, start=starter(result), on_change=lambda now: most.append(states(now)["running"]))
    assert max(most) == 2
    assert states(cells)["done"] == 4
    assert failure(cells) is None
    again = plan_cells(GRID, (0, 1, 2), tmp_path)
    assert states(again) == {"waiting": 2, "running": 0, "done": 4, "failed": 0}


def test_a_failing_cell_does_not_stop_the_others(result, tmp_path):
    cells = plan_cells(GRID, (0, 1), tmp_path)
    run_cells(cells, jobs=1, start=starter(result, fail=("a",)), on_change=lambda now: None)
    assert states(cells) == {"waiting": 0, "running": 0, "done": 2, "failed": 2}
    assert "a, seed 0 (and 1 more) failed: no luck" in str(failure(cells))
    retried = plan_cells(GRID, (0, 1), tmp_path)
    assert states(retried)["waiting"] == 2


def test_interrupting_stops_the_processes_by_closing_their_input(result, tmp_path):
    script = "sys.stdin.read(); sys.exit(3); "
    cells = plan_cells(GRID, (0,), tmp_path)
    started = time.monotonic()

    def interrupt(now):
        if states(now)["running"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells(cells, jobs=2, start=starter(result, script), on_change=interrupt)
    assert time.monotonic() - started < 30
    assert [cell.process.returncode for cell in cells] == [3, 3]
    assert states(cells)["waiting"] == 2


def test_folder_of_another_study_is_refused(tmp_path):
    claim_folder(tmp_path / "s", GRID, None)
    claim_folder(tmp_path / "s", GRID, None)
    other = Grid("g", "G", "?", GRID.rows, references=("a",), budget=Budget(epochs=4))
    with pytest.raises(RunFolderError, match=r"another budget \(epochs differs\)"):
        claim_folder(tmp_path / "s", other, None)
    with pytest.raises(RunFolderError, match="other rows"):
        claim_folder(tmp_path / "s", Grid("g", "G", "?", GRID.rows[:1], ("a",), Budget(epochs=3)), None)
    more = Grid("g", "G", "?", (*GRID.rows, Row("c", "C", "tiny_nl")), ("a",), Budget(epochs=3))
    claim_folder(tmp_path / "s", more, None)  # rows may be added
    assert stored_study(tmp_path / "s") == (more, None)
    with pytest.raises(RunFolderError, match="other videos"):
        claim_folder(tmp_path / "s", more, tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(RunFolderError, match="contains no study"):
        claim_folder(tmp_path / "full", GRID, None)


def test_options_that_came_later_count_with_their_defaults(tmp_path):
    claim_folder(tmp_path / "s", GRID, None)
    path = tmp_path / "s" / "study.json"
    stored = json.loads(path.read_text())
    del stored["grid"]["budget"]["optim"]["label_smoothing"]
    path.write_text(json.dumps(stored))
    check_folder(tmp_path / "s", GRID, None)


def test_a_report_needs_a_study(tmp_path):
    with pytest.raises(RunFolderError, match="not the folder of a study"):
        check_folder(tmp_path / "none", GRID, None)
    assert not (tmp_path / "none").exists()


def test_only_one_study_at_a_time(tmp_path):
    impatient = partial(sole_user, tmp_path, patience=0.0)
    with sole_user(tmp_path), pytest.raises(RunFolderError, match="another gta study"), impatient():
        pass
    with impatient():
        pass


def test_cells_of_a_killed_study_hold_the_folder_until_they_end(tmp_path):
    with sole_user(tmp_path) as lock:
        cell = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(RunFolderError, match="another gta study"), sole_user(tmp_path, patience=0.0):
        pass
    threading.Timer(0.5, cell.stdin.close).start()
    with sole_user(tmp_path, patience=20.0):  # waits for the cell
        assert cell.wait(5) is not None


def test_seeds_that_are_finished_are_found(result, tmp_path):
    cells = plan_cells(GRID, (0, 3), tmp_path)
    run_cells(cells, jobs=2, start=starter(result, fail=("b",)), on_change=lambda now: None)
    (tmp_path / "cells" / "a" / "seedling").mkdir()
    assert finished_seeds(GRID, tmp_path) == {0, 3}


def test_the_class_of_an_error_is_left_out_of_the_message(result, tmp_path):
    cells = plan_cells(GRID, (0,), tmp_path)
    cells[0].state = "failed"
    cells[0].folder.mkdir(parents=True)
    (cells[0].folder / LOG).write_text("Traceback\ngta.errors.DataError: d: no videos\n")
    assert "a, seed 0 failed: d: no videos: see" in str(failure(cells))


def test_progress_on_a_terminal_and_elsewhere(result, tmp_path):
    cells = plan_cells(GRID, (0, 1), tmp_path)
    cells[0].state, cells[0].result = "done", result("a", 0, top1=0.625)
    cells[1].state = "running"
    cells[2].state = "failed"
    console = Console(width=100, force_terminal=False, record=True)
    console.print(progress_table(GRID, cells))
    text = console.export_text()
    for words in ("62.5 %", "epoch 0/3", "failed", "1 of 4 cells done, 1 running, 1 failed"):
        assert words in text
    lines = Console(width=100, force_terminal=False, record=True)
    with shown(GRID, console=lines) as show:
        show(cells)
        cells[1].state, cells[1].result = "done", result("b", 0, top1=0.75)
        show(cells)
        show(cells)
    text = lines.export_text()
    assert "2 of 4 cells are finished already" in text
    assert text.count("b, seed 0: top-1 75.0 %") == 1
