"""Results by shard: what is done stays done, and the table is put together once nothing is missing.

Beside `scores.parquet`, the folder `scores.parquet.parts` holds `plan.json` (what the prediction is about) and, for
every finished shard of the manifest, its rows as JSON lines. Every file is written to a temporary name and renamed: a
process killed at any moment leaves whole files only: the next run takes the shards that are there and makes the others.
`plan.json` is the first file that is written there and the first that is removed: without it nothing else counts.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

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
        top_k: classes named for each.
        shard_size: videos of one shard.
    """

    videos: str
    num_videos: int
    checkpoint: str
    top_k: int
    shard_size: int

    @property
    def num_shards(self) -> int:
        """How many shards the manifest has."""
        return -(-self.num_videos // self.shard_size)

    def shard(self, number: int) -> range:
        """Numbers of a shard's videos."""
        return range(number * self.shard_size, min((number + 1) * self.shard_size, self.num_videos))


_PLAN = "plan.json"
_MEANING = {
    "videos": "another list of videos",
    "num_videos": "another list of videos",
    "checkpoint": "another checkpoint",
    "top_k": "another number of classes to name",
    "shard_size": "another `shard_size`",
}


class ShardedOutput:
    """The shards of one output file; belongs to one process at a time.

    Args:
        output: the table to make; its suffix says the format.
        plan: what the prediction is about.
        overwrite: begin anew, whatever is there; what an interrupted run with it has done is gone on with.

    Raises:
        OptionError: there is another prediction's output, or another process works on it.
    """

    def __init__(self, output: Path, plan: Plan, *, overwrite: bool = False) -> None:
        self.output, self.plan = output, plan
        self.folder = output.with_name(output.name + ".parts")
        self._lock: FolderLock | None = None
        self.is_complete = not overwrite and not self.folder.exists() and self._is_made()
        if self.is_complete:  # also where nothing can be written
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = FolderLock(self.folder)
        except RunFolderError:
            raise OptionError(f"{output}: another process is writing to it: wait until it finishes") from None
        begun = self._is_begun(overwrite)
        self.is_complete = not begun and not overwrite and self._is_made()
        if self.is_complete:
            self._leave_complete()
            return
        if not begun:
            self._begin(overwrite)
        self._open: dict[int, dict[int, str]] = {}
        done = {path.stem for path in self.folder.glob("0*.jsonl")}
        self.missing = [number for number in range(plan.num_shards) if self._name(number) not in done]

    @property
    def _begun(self) -> Path:
        return self.folder / _PLAN

    def _stored(self) -> dict[str, Any]:
        """What the shards are about, as `_begin` has written it; empty where nothing readable is there."""
        found = _read_json(self._begun)
        return found if isinstance(found, dict) else {}

    def _is_begun(self, overwrite: bool) -> bool:
        """Whether the shards are of this plan; with `overwrite`, also of a run that replaces the table."""
        stored = self._stored()
        return self._difference(stored.get("plan")) is None and (not overwrite or stored.get("overwrite") is True)

    def _is_made(self) -> bool:
        """Whether the table is there; one that was made from something else, or may have been, is refused."""
        if not self.output.exists():
            return False
        found = read_plan(self.output)
        if found is None:
            self._refuse("it exists already, and nothing says what it was made from")
        why = self._difference(found, "shard_size")
        if why is not None:
            self._refuse(f"it exists already: from {why}")
        return True

    def _begin(self, overwrite: bool) -> None:
        """Make the folder ready for new shards."""
        if self._begun.exists() and not overwrite:
            why = self._difference(self._stored().get("plan")) or "another version"
            self._refuse(f"it was started with something else ({self.folder.name}): from {why}")
        self._begun.unlink(missing_ok=True)  # first: without it, what is in the folder counts for nothing
        for path in self.folder.iterdir():
            path.unlink()
        write_json(self._begun, {"plan": asdict(self.plan), "overwrite": overwrite})

    @property
    def num_done(self) -> int:
        """Videos that have their row on disk."""
        return self.plan.num_videos - sum(len(self.plan.shard(number)) for number in self.missing)

    @property
    def num_unreadable(self) -> int:
        """Rows on disk that hold an error.

        Raises:
            RunFolderError: a shard is damaged.
        """
        waiting = set(self.missing)
        done = (number for number in range(self.plan.num_shards) if number not in waiting)
        return sum(row["error"] is not None for number in done for row in self._shard_rows(number))

    def waiting(self) -> Iterator[int]:
        """Numbers of the videos that have no row on disk, shard by shard."""
        for number in list(self.missing):
            yield from self.plan.shard(number)

    def add(self, video: int, path: str, row: Row) -> None:
        """Keep a video's row; writes the shard when it is the last of it."""
        number = video // self.plan.shard_size
        rows = self._open.setdefault(number, {})
        rows[video] = _line(path, row)
        if len(rows) < len(self.plan.shard(number)):
            return
        del self._open[number]
        write_text(self.folder / f"{self._name(number)}.jsonl", "".join(rows[video] for video in sorted(rows)))
        self.missing.remove(number)

    def finish(self) -> None:
        """Put the table together and remove the shards.

        Raises:
            RunFolderError: a shard is damaged.
        """
        rows = (row for number in range(self.plan.num_shards) for row in self._shard_rows(number))
        write_table(self.output, rows, asdict(self.plan))
        self._remove_folder()

    def _remove_folder(self) -> None:
        """Remove the shards; a run that is killed meanwhile leaves a table that is complete."""
        self._begun.unlink(missing_ok=True)
        shutil.rmtree(self.folder)
        self._release()

    def _leave_complete(self) -> None:
        """Remove what a killed run left of the shards of a complete table, not what another prediction has begun."""
        if self._begun.exists() and self._difference(self._stored().get("plan"), "shard_size") is not None:
            self._release()
        else:
            self._remove_folder()

    def _refuse(self, why: str) -> NoReturn:
        """Leave everything as it is."""
        if self._lock is not None and not any(self.folder.iterdir()):
            self.folder.rmdir()
        self._release()
        raise OptionError(f"{self.output}: {why}; choose another `output`, or use `overwrite` to start again")

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _shard_rows(self, number: int) -> Iterator[dict[str, Any]]:
        path = self.folder / f"{self._name(number)}.jsonl"
        rows = [_read_line(path, line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        if len(rows) != len(self.plan.shard(number)):
            raise RunFolderError(f"{path}: damaged, {len(rows)} rows: delete this file and repeat the command")
        yield from rows

    def _difference(self, found: Any, *apart_from: str) -> str | None:
        """What a stored plan has otherwise, apart from these entries; None if nothing."""
        found = found if isinstance(found, dict) else {}
        if "topk" in found:  # the old name, for one release
            found = {"top_k": found["topk"], **found}
        wanted = {name: value for name, value in asdict(self.plan).items() if name not in apart_from}
        return next((_MEANING[name] for name in wanted if found.get(name) != wanted[name]), None)

    @staticmethod
    def _name(number: int) -> str:
        return f"{number:07d}"


def _line(path: str, row: Row) -> str:
    return json.dumps({"path": path, **asdict(row)}, allow_nan=False) + "\n"


def _read_line(path: Path, line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:
        raise RunFolderError(f"{path}: damaged: delete this file and repeat the command") from None


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, StoredError, UnicodeDecodeError):
        return None
