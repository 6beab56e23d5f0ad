"""Keeping account of videos that could not be read: one line each in `skipped.csv`, and a limit (floor 0)."""

import os
from collections.abc import Iterable
from pathlib import Path

from gta.csv_files import read_rows, table_text
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
            rows = list(read_rows(self.path))[1:]
            self._reasons = {row[0]: row[1] for row in rows if len(row) == 2}
        self._known = {os.path.abspath(path) for path in self._reasons}

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
        # One file is one entry, however the data set's folder was named in this and in earlier parts of the run.
        new: list[tuple[str, str]] = []
        for path, reason in skipped:
            if (place := os.path.abspath(path)) not in self._known:
                self._known.add(place)
                new.append((path, reason))
        if not new:
            return []
        self._reasons.update(new)
        self._write()
        if self._max_share is not None and len(self._reasons) > self._max_share * self._num_videos:
            raise DataError(
                f"{len(self._reasons)} of {self._num_videos} videos could not be read, more than the allowed share of "
                f"{self._max_share:g}; see {self.path}, run gta data check, or raise data.max_skipped"
            )
        return new

    def _write(self) -> None:
        write_text(self.path, table_text(_HEADER, sorted(self._reasons.items())))
