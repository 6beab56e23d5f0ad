"""`gta predict --manifest --engine ray`: the rows of one machine, from the actors of a local cluster."""

import io
import json
import logging
import time
from pathlib import Path

import pytest
from bulk_files import write_folder, write_model

from gta.bulk import cluster
from gta.bulk.run import BulkOptions, predict_many
from gta.cli import run
from gta.errors import OptionError

ray = pytest.importorskip("ray", reason="bulk prediction's extra is not installed")
from ray._private import services  # noqa: E402


@pytest.fixture(scope="module")
def local_cluster():
    """Two cores and, as far as Ray is told, one GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setattr(services, "get_node", patient(services.get_node))
        ray.init(
            num_cpus=2,
            num_gpus=1,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=80_000_000,
            _node_ip_address="127.0.0.1",
        )
        yield
        ray.shutdown()


def patient(ask):
    """Ray gives its own processes 30 s to start, too little on a machine that is busy with other tests."""

    def ask_again(*arguments):
        until = time.monotonic() + 300
        while True:
            try:
                return ask(*arguments)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    return ask_again


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.ckpt")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("bulk") / "videos", 40, 4)


def rows_of(output: Path) -> list[dict]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_two_actors_give_the_rows_of_one_machine(local_cluster, model, videos, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(videos.parent)  # actors have other working directories
    (videos.parent / "list.txt").write_text("".join(f"videos/{path.name}\n" for path in sorted(videos.iterdir())))
    predict_many(model, "list.txt", tmp_path / "processes.jsonl", BulkOptions(num_workers=1, shard_size=8))
    asked = []
    original = cluster._pool_size
    monkeypatch.setattr(cluster, "_pool_size", lambda *a: asked.append(original(*a)) or asked[-1])
    words = ["--manifest", "list.txt", "--output", str(tmp_path / "ray.jsonl"), "--shard-size", "8"]
    assert run(["predict", str(model), *words, "--engine", "ray", "--num-workers", "2", "--device", "cpu"]) == 0
    assert asked == [2]
    first, second = rows_of(tmp_path / "processes.jsonl"), rows_of(tmp_path / "ray.jsonl")
    assert len(first) == 40
    assert sum(row["error"] is not None for row in first) == 4
    for one, other in zip(first, second, strict=True):
        assert {**other, "scores": None} == {**one, "scores": None}
        assert other["scores"] == pytest.approx(one["scores"], abs=1e-6)


def test_the_remarks_of_rays_data_sets_stay_off_the_terminal(local_cluster, model, videos, tmp_path) -> None:
    logger = logging.getLogger("ray.data")
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    logger.addHandler(handler)  # as Ray's own one, which holds the stderr of its import
    try:
        words = ["--manifest", str(videos), "--output", str(tmp_path / "ray.jsonl"), "--engine", "ray"]
        assert run(["predict", str(model), *words, "--num-workers", "1", "--device", "cpu"]) == 0
        assert shown.getvalue() == ""
        logger.warning("of the caller")
        assert "of the caller" in shown.getvalue()
    finally:
        logger.removeHandler(handler)


def test_what_an_actor_refuses_is_one_line(local_cluster, model, videos, tmp_path, capsys) -> None:
    """Ray gives out a share of its pretended GPU; PyTorch finds none."""
    words = ["--manifest", str(videos), "--output", str(tmp_path / "scores.jsonl"), "--engine", "ray"]
    assert run(["predict", str(model), *words, "--gpus-per-worker", "0.5", "--num-workers", "1"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "a worker of the cluster stopped: --device is cuda" in line
    assert ray.is_initialized()  # a connection of the caller's stays


def test_a_cluster_that_does_not_answer_is_one_line(model, videos, tmp_path, monkeypatch, capsys) -> None:
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("nobody\nthere")))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    words = ["--manifest", str(videos), "--output", str(tmp_path / "scores.jsonl"), "--engine", "ray"]
    assert run(["predict", str(model), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "cannot reach or start a Ray cluster at 127.0.0.1:9 (nobody there)" in line


def test_the_pool_is_as_large_as_the_cluster_has_room_for() -> None:
    has = {"CPU": 16.0, "GPU": 2.0}
    sizes = [
        cluster._pool_size(has, cluster.ClusterOptions(wanted, share, 1.0))
        for wanted, share in ((None, 0.0), (3, 0.0), (99, 0.0), (None, 0.25), (None, 0.1), (None, 1.0), (None, 2.0))
    ]
    assert sizes == [16, 3, 16, 8, 16, 2, 1]
    with pytest.raises(OptionError, match="needs 1 CPU and 4 GPU, the cluster has 16 CPU and 2 GPU"):
        cluster._pool_size(has, cluster.ClusterOptions(None, 4.0, 1.0))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--gpus-per-worker", "0.5"], "requires --engine ray"),
        (["--engine", "ray", "--gpus-per-worker", "-1"], "--gpus-per-worker is -1"),
        (["--engine", "ray", "--gpus-per-worker", "1.5"], "a share from 0 to 1, or a whole number"),
        (["--engine", "ray", "--device", "cuda"], "give --gpus-per-worker"),
        (["--engine", "ray", "--device", "cuda:1"], "Ray chooses the GPU"),
        (["--engine", "ray", "--device", "cpu", "--gpus-per-worker", "1"], "cannot be used together"),
    ],
)
def test_options_that_do_not_fit_are_one_line(model, tmp_path, capsys, words, text) -> None:
    assert run(["predict", str(model), "--manifest", str(tmp_path), "--output", "a.csv", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert text in line
