"""Which videos a bulk prediction is about: from a list, a folder or a pattern."""

import glob
import os
from pathlib import Path

from gta.csv_files import read_rows
from gta.datasets.finding import find_videos, read_path_list
from gta.datasets.layouts.common import is_video_name
from gta.errors import DataError
from gta.stored import StoredError, parse_json
from gta.video.remote import clear_storage_errors, open_filesystem, remote_address

PATH_COLUMNS = ("path", "video", "video_path", "file", "filename", "filepath")
"""Names of the column of a list that holds the videos; a list without any of them has them in its first column."""

_LISTS = (".csv", ".txt", ".jsonl")


def read_manifest(source: str) -> list[tuple[str, str]]:
    """The videos of a manifest, each once, in their order.

    Args:
        source: a list (`.csv` with a column `path`, `.jsonl` with a field `path`, `.txt` with one path per line), a
            folder with videos at any depth, or a glob pattern. Relative paths in a list are relative to its folder.

    Returns:
        For each video its name, as the manifest has it, and the path to open.

    Raises:
        DataError: there is no such list, folder or file, it is damaged, or it names no video.
    """
    manifest = Path(source)
    if (address := remote_address(source)) is not None:
        if manifest.suffix.lower() in _LISTS:
            raise DataError(f"{address}: lists are read from local disks only: copy it to one")
        return [(name, name) for name in _at_address(source)]
    if manifest.suffix.lower() not in _LISTS or manifest.is_dir():
        return [(str(path), str(path)) for path in find_videos([source]).videos]
    if not manifest.is_file():
        raise DataError(f"{source}: no such list of videos")
    try:
        names = _READERS[manifest.suffix.lower()](manifest)
    except UnicodeDecodeError:
        raise DataError(f"{source}: not a text file in UTF-8") from None
    if not names:
        raise DataError(f"{source}: it contains no videos")
    return [(name, _located(name, manifest.parent)) for name in dict.fromkeys(names)]


def _at_address(source: str) -> list[str]:
    """The videos that an address names: one file, all below a folder, or those that fit a pattern; sorted."""
    address = remote_address(source) or source
    with clear_storage_errors(address):
        system, path = open_filesystem(address)
        found = system.glob(path) if glob.has_magic(path) else system.find(path)
        names = [system.unstrip_protocol(name) for name in found if is_video_name(name.rpartition("/")[2])]
    if not names:
        raise DataError(f"{address}: there is no video at this address")
    return sorted(names)


def _located(name: str, folder: Path) -> str:
    return name if remote_address(name) is not None else os.path.join(folder, name)


def _read_csv(path: Path) -> list[str]:
    rows = [row for row in read_rows(path) if row and any(row)]
    if not rows:
        return []
    header = [cell.strip().lower().removeprefix("\ufeff") for cell in rows[0]]
    column = next((header.index(name) for name in PATH_COLUMNS if name in header), None)
    if column is not None:
        rows = rows[1:]
    column = column or 0
    for number, row in enumerate(rows, start=1):
        if len(row) <= column or not row[column]:
            raise DataError(f"{path}: row {number} names no video")
    return [row[column] for row in rows]


def _read_jsonl(path: Path) -> list[str]:
    names: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = parse_json(line)
        except StoredError as error:
            raise DataError(f"{path}: line {number}: {error}") from None
        name = found.get("path") if isinstance(found, dict) else None
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}: line {number} has no field path with the path of a video")
        names.append(name)
    return names


_READERS = {".csv": _read_csv, ".txt": read_path_list, ".jsonl": _read_jsonl}
