"""Results by shard: what is done stays done, and the table is put together once nothing is missing.

Beside `scores.parquet`, the folder `scores.parquet.parts` holds `plan.json` (what the prediction is about) and, for
every finished shard of the manifest, its rows as JSON lines. Every file is written to a temporary name and renamed: a
process killed at any moment leaves whole files only: the next run takes the shards that are there and makes the others.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gta.bulk.rows import Row
from gta.bulk.tables import read_plan, write_table
from gta.errors import OptionError, RunFolderError
from gta.files import write_json, write_text
from gta.stored import StoredError, parse_json
from gta.training.folder_lock import FolderLock


@dataclass(frozen=True)
class Plan:
    """What a prediction is about: a table that was begun goes on only with the same.

    Args:
        videos: digest of the manifest's paths in their order.
        num_videos: how many they are.
        checkpoint: digest of the model's file.
        topk: classes named for each.
        shard_size: videos of one shard.
    """

    videos: str
    num_videos: int
    checkpoint: str
    topk: int
    shard_size: int

    @property
    def num_shards(self) -> int:
        """How many shards the manifest has."""
        return -(-self.num_videos // self.shard_size)

    def shard(self, number: int) -> range:
        """Numbers of a shard's videos."""
        return range(number * self.shard_size, min((number + 1) * self.shard_size, self.num_videos))


_MEANING = {
    "videos": "another list of videos",
    "num_videos": "another list of videos",
    "checkpoint": "another checkpoint",
    "topk": "another --top-k",
    "shard_size": "another --shard-size",
}


class ShardedOutput:
    """The shards of one output file; belongs to one process at a time.

    Args:
        output: the table to make; its suffix says the format.
        plan: what the prediction is about.
        overwrite: begin anew, whatever is there.

    Raises:
        OptionError: there is another prediction's output, or another process works on it.
    """

    def __init__(self, output: Path, plan: Plan, *, overwrite: bool = False) -> None:
        self.output, self.plan = output, plan
        self.folder = output.with_name(output.name + ".parts")
        self.is_complete = False
        if output.exists() and not overwrite:
            self._require_same(read_plan(output), f"{output}: it exists already")
            self.is_complete = True
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = FolderLock(self.folder)
        except RunFolderError:
            raise OptionError(f"{output}: another process is predicting into it: wait for it") from None
        if overwrite:
            for path in self.folder.iterdir():
                path.unlink()
        place = self.folder / "plan.json"
        if place.exists():
            self._require_same(_read_json(place), f"{output}: it was begun with something else ({self.folder.name})")
        else:
            write_json(place, asdict(plan))
        self._open: dict[int, dict[int, Row]] = {}
        self._paths: dict[int, str] = {}
        done = {path.stem for path in self.folder.glob("0*.jsonl")}
        self.missing = [number for number in range(plan.num_shards) if self._name(number) not in done]

    @property
    def num_done(self) -> int:
        """Videos that have their row on disk."""
        return self.plan.num_videos - sum(len(self.plan.shard(number)) for number in self.missing)

    def waiting(self) -> Iterator[int]:
        """Numbers of the videos that have no row on disk, shard by shard."""
        for number in list(self.missing):
            yield from self.plan.shard(number)

    def add(self, video: int, path: str, row: Row) -> None:
        """Keep a video's row; writes the shard when it is the last of it."""
        number = video // self.plan.shard_size
        rows = self._open.setdefault(number, {})
        rows[video] = row
        self._paths[video] = path
        if len(rows) < len(self.plan.shard(number)):
            return
        del self._open[number]
        lines = [_line(self._paths.pop(video), rows[video]) for video in sorted(rows)]
        write_text(self.folder / f"{self._name(number)}.jsonl", "".join(lines))
        self.missing.remove(number)

    def finish(self) -> None:
        """Put the table together and remove the shards.

        Raises:
            RunFolderError: a shard is damaged.
        """
        write_table(self.output, self._stored_rows(), asdict(self.plan))
        self._lock.release()
        shutil.rmtree(self.folder)

    def _stored_rows(self) -> Iterator[dict[str, Any]]:
        for number in range(self.plan.num_shards):
            place = self.folder / f"{self._name(number)}.jsonl"
            rows = [_read_line(place, line) for line in place.read_text(encoding="utf-8").split("\n")[:-1]]
            if len(rows) != len(self.plan.shard(number)):
                raise RunFolderError(f"{place}: damaged, {len(rows)} rows: delete this file and repeat the command")
            yield from rows

    def _require_same(self, found: Any, what: str) -> None:
        wanted = asdict(self.plan)
        if found == wanted:
            return
        found = found if isinstance(found, dict) else {}
        why = next((_MEANING[name] for name in wanted if found.get(name) != wanted[name]), "another version")
        raise OptionError(f"{what}: from {why}; choose another --output, or give --overwrite to begin anew")

    @staticmethod
    def _name(number: int) -> str:
        return f"{number:07d}"


def _line(path: str, row: Row) -> str:
    return json.dumps({"path": path, **asdict(row)}, allow_nan=False) + "\n"


def _read_line(place: Path, line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:
        raise RunFolderError(f"{place}: damaged: delete this file and repeat the command") from None


def _read_json(place: Path) -> Any:
    try:
        return parse_json(place.read_text(encoding="utf-8"))
    except (StoredError, UnicodeDecodeError):
        return None
