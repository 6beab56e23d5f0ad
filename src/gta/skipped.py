"""Keeping account of videos that could not be read: one line each in `skipped.csv`, and a limit (floor 0)."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from gta.errors import DataError
from gta.files import write_text

_HEADER = ("path", "reason")


class SkippedVideos:
    """The videos that a run left out; each is listed once, whatever the number of epochs and workers.

    Args:
        path: the CSV file to write; entries that it holds from an earlier part of the run are kept.
        num_videos: how many videos the run reads.
        max_share: a larger share of unreadable videos than this stops the run; no limit if not given.
    """

    def __init__(self, path: str | Path, *, num_videos: int = 0, max_share: float | None = None) -> None:
        self.path = Path(path)
        self._num_videos = num_videos
        self._max_share = max_share
        self._reasons: dict[str, str] = {}
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                rows = csv.reader(file)
                next(rows, None)
                self._reasons = {row[0]: row[1] for row in rows if len(row) == 2}

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def reasons(self) -> dict[str, str]:
        """Path -> why it could not be read."""
        return dict(self._reasons)

    def add(self, skipped: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Take note of the videos that a batch skipped; writes the file when there are new ones.

        Returns:
            Those that were not known yet.

        Raises:
            DataError: more than the allowed share of all videos could not be read.
        """
        new = [(path, reason) for path, reason in dict(skipped).items() if path not in self._reasons]
        if not new:
            return []
        self._reasons.update(new)
        self._write()
        if self._max_share is not None and len(self._reasons) > self._max_share * self._num_videos:
            raise DataError(
                f"{len(self._reasons)} of {self._num_videos} videos could not be read, more than the allowed share of "
                f"{self._max_share:g}; see {self.path}, run gta data check, or raise --data.max-skipped"
            )
        return new

    def _write(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows(sorted(self._reasons.items()))
        write_text(self.path, text.getvalue())
