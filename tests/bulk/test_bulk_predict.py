"""`gta predict --manifest`: one row per video whatever happens, and nothing lost or done twice by a killed run."""

import contextlib
import csv
import errno
import gc
import json
import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import torch
from bulk_files import CLASSES, write_folder, write_model, write_video

import gta
from gta.bulk import run as bulk_run
from gta.bulk.manifest import read_manifest
from gta.bulk.progress import ProgressLine, describe_progress
from gta.bulk.rows import PredictRows, Row
from gta.bulk.run import BulkOptions, predict_many
from gta.bulk.shards import Plan, ShardedOutput
from gta.cli import run
from gta.errors import DataError, OptionError
from gta.processes import WorkerError

parquet = pytest.importorskip("pyarrow.parquet", reason="bulk prediction's extra is not installed")

NUM_VIDEOS, NUM_BROKEN = 120, 10


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.ckpt")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("bulk") / "videos", NUM_VIDEOS, NUM_BROKEN)


def _rows(output: Path) -> list[dict]:
    return parquet.read_table(output).to_pylist()


def _in_child(model: Path, videos: Path, output: Path) -> None:
    torch.set_num_threads(1)
    predict_many(model, str(videos), output, BulkOptions(num_workers=2, shard_size=8))


def test_killed_at_random_moments_and_repeated_every_video_has_its_one_row(model, videos, tmp_path):
    output, moments = tmp_path / "scores.parquet", random.Random(0)
    parts = tmp_path / "scores.parquet.parts"
    context = multiprocessing.get_context("fork")
    kept: list[int] = []
    for _ in range(5):
        process = context.Process(target=_in_child, args=(model, videos, output))
        process.start()
        wanted = len(kept and list(parts.glob("0*.jsonl"))) + moments.randint(1, 2)
        while process.is_alive() and len(list(parts.glob("0*.jsonl"))) < wanted:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.join()
        kept.append(len(list(parts.glob("0*.jsonl"))))
    assert not output.exists()
    assert kept == sorted(kept)
    assert 0 < kept[0] < kept[-1] < NUM_VIDEOS / 8

    stamps = {path.name: path.stat().st_mtime_ns for path in parts.glob("0*.jsonl")}
    monkey = {}
    original = bulk_run.ShardedOutput.finish

    def finish(shards) -> None:
        monkey.update({path.name: path.stat().st_mtime_ns for path in parts.glob("0*.jsonl")})
        original(shards)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk_run.ShardedOutput, "finish", finish)
        predict_many(model, str(videos), output, BulkOptions(num_workers=2, shard_size=8))
    assert stamps.items() <= monkey.items()  # what was done is not done again
    rows = _rows(output)
    assert [row["path"] for row in rows] == sorted(str(path) for path in videos.iterdir())
    assert sum(row["error"] is not None for row in rows) == NUM_BROKEN
    assert not parts.exists()


def test_rows_say_what_the_predictor_says(model, videos, tmp_path):
    output = tmp_path / "scores.jsonl"
    chosen = sorted(videos.iterdir())[:14]
    listed = tmp_path / "videos.csv"
    listed.write_text("id,path\n" + "".join(f"{n},{path}\n" for n, path in enumerate(chosen)))
    predict_many(model, str(listed), output, BulkOptions(num_workers=2, shard_size=4, top_k=2))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    predictor = gta.Predictor.from_checkpoint(model, device="cpu")
    assert [row["path"] for row in rows] == [str(path) for path in chosen]
    for row in rows:
        if row["error"] is None:
            expected = predictor.predict(row["path"], top_k=2)
            assert row["labels"] == list(expected.labels)
            assert row["scores"] == pytest.approx(expected.scores, abs=1e-5)
            assert row["duration"] == pytest.approx(0.4)
        else:
            with pytest.raises(gta.errors.VideoError) as found:
                predictor.predict(row["path"])
            assert (row["error"], row["labels"], row["scores"]) == (found.value.reason, [], [])
    assert any(row["error"] for row in rows)


class _DangerousRows(PredictRows):
    """Crashes, hangs, kills its process once, or answers, as the name of the file says."""

    def __call__(self, worker: int):
        return self.row

    @staticmethod
    def row(item: tuple[int, str]) -> Row:
        path = Path(item[1])
        if "crash" in path.name:
            os.abort()
        if "hang" in path.name:
            time.sleep(60)
        if "once" in path.name and not path.with_suffix(".tried").exists():
            path.with_suffix(".tried").touch()
            os._exit(9)
        return Row(("left",), (1.0,), 1.0)


def test_a_crash_and_a_hang_cost_their_own_rows_only(model, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk_run, "PredictRows", lambda *_: _DangerousRows(Path("none.ckpt")))
    names = [*(f"{n:02d}.mp4" for n in range(20)), "crash.mp4", "hang.mp4", "once.mp4", "crash2.mp4"]
    random.Random(1).shuffle(names)
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path}/{name}\n" for name in names))
    output = tmp_path / "scores.csv"
    options = BulkOptions(num_workers=2, shard_size=5, time_limit_seconds=2.0)
    predict_many(model, str(tmp_path / "list.txt"), output, options)
    with output.open(newline="") as file:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    assert list(rows) == names
    errors = {name: row["error"] for name, row in rows.items() if row["error"]}
    assert errors == {
        "crash.mp4": "reading it crashes the decoder (SIGABRT)",
        "crash2.mp4": "reading it crashes the decoder (SIGABRT)",
        "hang.mp4": "it took longer than the time limit of 2 s",
    }
    assert json.loads(rows["once.mp4"]["labels"]) == ["left"]


def test_the_command_refuses_to_mix_two_predictions(model, videos, tmp_path, capsys):
    other = write_model(tmp_path / "other.ckpt", seed=1)
    write_video(tmp_path / "a.mp4")
    output = tmp_path / "scores.parquet"
    words = ["predict", str(model), "--manifest", str(tmp_path / "*.mp4"), "--output", str(output)]
    small = ["--num-workers", "1", "--device", "cpu"]
    assert run([*words, *small]) == 0
    assert "1 of 1 videos" in capsys.readouterr().out
    assert set(_rows(output)[0]["labels"]) == set(CLASSES)
    assert run([*words, *small]) == 0
    assert "complete already" in capsys.readouterr().out
    assert run(["predict", str(other), *words[2:], *small]) == 2
    assert "another checkpoint" in capsys.readouterr().err
    assert run(["predict", str(other), *words[2:], *small, "--overwrite"]) == 0


def test_mistakes_in_python_name_arguments() -> None:
    with pytest.raises(OptionError, match="`gpus_per_worker` requires `engine` ray"):
        BulkOptions(gpus_per_worker=0.5)
    with pytest.raises(OptionError, match="`time_limit_seconds` is 0: it must be above 0"):
        BulkOptions(time_limit_seconds=0.0)


def _small_plan(**other) -> Plan:
    return Plan(**{"videos": "v", "num_videos": 5, "checkpoint": "c", "top_k": 1, "shard_size": 2, **other})


def _work(output, plan=None, *, count=5, overwrite=False, finish=True) -> list[int]:
    """A run that ends after `count` videos, or in the end; every second video is unreadable. Gives what it made."""
    shards = ShardedOutput(output, plan or _small_plan(), overwrite=overwrite)
    if shards.is_complete:
        return []
    made = list(shards.waiting())[:count]
    for video in made:
        shards.add(video, f"{video}.mp4", Row(error="no") if video % 2 else Row(("a",), (1.0,), 1.0))
    if finish:
        shards.finish()
    shards._lock.release()
    return made


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_finished_command_repeated_is_complete(tmp_path, name):
    output = tmp_path / name
    assert _work(output) == [0, 1, 2, 3, 4]
    before = output.read_bytes()
    assert _work(output) == []
    assert _work(output, _small_plan(shard_size=3)) == []  # how it was cut says nothing about a whole table
    with pytest.raises(OptionError, match="exists already: from another checkpoint"):
        _work(output, _small_plan(checkpoint="d"))
    assert not Path(f"{output}.parts").exists()
    assert output.read_bytes() == before
    output.write_bytes(b"edited")
    with pytest.raises(OptionError, match="nothing says what it was made from"):
        _work(output)


def test_a_table_of_the_last_release_is_still_known(tmp_path):
    output = tmp_path / "t.csv"
    _work(output)
    beside = tmp_path / "t.csv.plan.json"
    beside.write_text(beside.read_text().replace('"top_k"', '"topk"'))
    assert _work(output) == []
    with pytest.raises(OptionError, match="from another number of classes to name"):
        _work(output, _small_plan(top_k=2))


def test_a_table_is_looked_at_before_anything_is_made(tmp_path, monkeypatch):
    output = tmp_path / "t.csv"
    _work(output)

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refused)  # as in a folder that is read-only
        assert ShardedOutput(output, _small_plan()).is_complete
        with pytest.raises(OptionError, match="from another checkpoint"):
            ShardedOutput(output, _small_plan(checkpoint="d"))
    with monkeypatch.context() as patch:
        patch.setattr("gta.bulk.shards.read_plan", refused)
        with pytest.raises(PermissionError):
            ShardedOutput(output, _small_plan())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.csv.plan.json"]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("step", ["write_json", "rmtree"])
def test_killed_between_the_table_and_the_end_of_its_shards(tmp_path, monkeypatch, name, step):
    output = tmp_path / name

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "rmtree":
            patch.setattr("gta.bulk.shards.shutil.rmtree", killed)
        else:
            patch.setattr("gta.bulk.tables.write_json", killed)
        with contextlib.suppress(KeyboardInterrupt):
            _work(output)
    assert output.exists()
    gc.collect()  # what the killed run held is let go with its process
    assert _work(output) == []
    left = {path.name for path in tmp_path.iterdir()}
    assert left == ({"t.csv", "t.csv.plan.json"} if name == "t.csv" else {"t.parquet"})


def test_an_interrupted_replacement_goes_on_and_a_new_one_begins_anew(tmp_path):
    output, other = tmp_path / "t.csv", _small_plan(checkpoint="d")
    _work(output)
    assert _work(output, other, count=4, overwrite=True, finish=False) == [0, 1, 2, 3]
    assert _work(output, other, count=0, overwrite=True, finish=False) == []
    assert _work(output, other, overwrite=True) == [4]
    assert _work(output, other) == []
    assert _work(output, other, count=2, overwrite=True, finish=False) == [0, 1]
    assert _work(output, other) == [2, 3, 4]  # without the option, too
    output.unlink()
    assert _work(output, count=2, finish=False) == [0, 1]
    assert _work(output, overwrite=True) == [0, 1, 2, 3, 4]  # what it was begun without it, it does not trust


def test_a_complete_table_leaves_what_another_prediction_has_begun(tmp_path):
    output, other = tmp_path / "t.csv", _small_plan(checkpoint="d")
    _work(output)
    _work(output, other, count=2, overwrite=True, finish=False)
    assert _work(output) == []
    assert _work(output, other, overwrite=True) == [2, 3, 4]


def test_unreadable_videos_of_earlier_runs_count(tmp_path):
    _work(tmp_path / "t.csv", count=4, finish=False)
    shards = ShardedOutput(tmp_path / "t.csv", _small_plan())
    assert (shards.num_done, shards.num_unreadable) == (4, 2)
    progress = ProgressLine(5, shards.num_done, shards.num_unreadable)
    progress.add(unreadable=True)
    assert progress.text().startswith("5 of 5 videos, 3 unreadable")


def test_lists_and_tables_at_addresses_are_refused(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4")
    for words, text in (
        (
            ["a.mp4", "--output", "memory://out/x.csv"],
            "--output is memory://out/x.csv: tables are written to local disks",
        ),
        (["memory://b/list.csv", "--output", "x.csv"], "memory://b/list.csv: lists are read from local disks"),
    ):
        assert run(["predict", str(model), "--manifest", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert text in line
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_two_commands_do_not_write_the_same_table(model, videos, tmp_path):
    output = tmp_path / "scores.jsonl"
    plan = bulk_run.Plan("a", 1, "b", 5, 4)
    held = bulk_run.ShardedOutput(output, plan)
    with pytest.raises(OptionError, match="another process"):
        bulk_run.ShardedOutput(output, plan)
    held._lock.release()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--manifest", "x"], "--manifest and --output go together"),
        (["--manifest", "nowhere.csv", "--output", "a.jsonl"], "nowhere.csv: no such list"),
        (["--manifest", "*.none", "--output", "a.jsonl"], "no video matches"),
        (["--manifest", "x", "--output", "a.txt"], "must end in .parquet"),
        (["--manifest", "x", "--output", "a.csv", "--num-workers", "0"], "--num-workers is 0"),
        (["--manifest", "x", "--output", "a.csv", "--time-limit", "nan"], "--time-limit is nan"),
        (["v.mp4", "--engine", "ray"], "--engine requires --manifest"),
        (["v.mp4", "--num-workers", "2"], "--num-workers requires --manifest"),
        (["v.mp4", "--gpus-per-worker", "1"], "--gpus-per-worker requires --manifest"),
        (["v.mp4", "--shard-size", "8"], "--shard-size requires --manifest"),
        (["v.mp4", "--time-limit", "8"], "--time-limit requires --manifest"),
        (["v.mp4", "--overwrite"], "--overwrite requires --manifest"),
        (["--manifest", "x", "--output", "a.csv", "--batch-size", "2"], "omit --batch-size"),
        (["v.mp4", "--manifest", "x", "--output", "a.csv"], "--manifest replaces videos"),
    ],
)
def test_mistakes_are_one_line(model, words, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["predict", str(model), *words]) == 2
    found = capsys.readouterr().err
    assert text in found
    assert found.count("\n") == 1


def test_manifests_of_every_kind_name_the_same_videos(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "l.csv").write_text("label,video\n1,a.mp4\n2,b.mp4\n1,a.mp4\n")
    (tmp_path / "n.csv").write_text("a.mp4,1\nb.mp4,2\n")
    (tmp_path / "l.jsonl").write_text('{"path": "a.mp4"}\n\n{"path": "b.mp4"}\n')
    (tmp_path / "l.txt").write_text("# ours\na.mp4\nb.mp4\n")
    expected = [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]
    for source in ("l.csv", "n.csv", "l.jsonl", "l.txt", "", "*.mp4"):
        assert [path for _, path in read_manifest(os.path.join(tmp_path, source).rstrip("/"))] == expected
    (tmp_path / "bad.jsonl").write_text('{"file": 3}\n')
    with pytest.raises(DataError, match="line 1"):
        read_manifest(str(tmp_path / "bad.jsonl"))


def test_an_error_stands_on_a_line_of_its_own(model, videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    def failing(*_):
        raise WorkerError("no memory")
        yield

    monkeypatch.setattr(bulk_run, "_rows", failing)
    with pytest.raises(WorkerError):
        predict_many(model, str(videos), tmp_path / "scores.csv", BulkOptions(num_workers=1))
    assert capsys.readouterr().err == "\r\x1b[K"


def test_progress_tells_rate_and_time_left():
    assert (
        describe_progress(1200, 4800, 3, 200, 100.0) == "1,200 of 4,800 videos, 3 unreadable, 2.0 videos/s, 30 min left"
    )
    assert describe_progress(5, 5, 0, 5, 2.0) == "5 of 5 videos, 2.5 videos/s"
