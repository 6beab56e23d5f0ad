"""Tables: what is written is read back, and no cell is a formula to a spreadsheet."""

import csv
import io
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gta.csv_files import read_rows, table_text
from gta.errors import DataError
from gta.skipped import SkippedVideos

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=12) | st.sampled_from(
    ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "'=quoted", "''-", "\tx", '=HYPERLINK("http://x")', "-1.5", "+", "-nan"]
)


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


@given(rows=st.lists(st.tuples(_NAMES, _NAMES), max_size=5))
def test_tables_are_read_back_and_hold_no_formula(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    text = table_text(["path", "reason"], rows)
    path.write_bytes(text.encode())
    assert list(read_rows(path)) == [["path", "reason"], *map(list, rows)]
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            assert not cell.startswith(("=", "+", "-", "@", "\t")) or _is_number(cell) or cell.lower() == "-nan"


def test_numbers_stay_numbers():
    assert table_text(["a", "b", "c"], [[-1.5, None, "-2"]]) == "a,b,c\n-1.5,,-2\n"


def test_an_open_quotation_is_one_line(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text('path,reason\n"a.mp4,b\n')
    with pytest.raises(DataError, match=r"t\.csv: line 2 is not CSV"):
        list(read_rows(path))


def test_a_video_is_listed_once_however_its_folder_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = SkippedVideos(tmp_path / "skipped.csv")
    assert first.add([("videos/a.mp4", "damaged")]) == [("videos/a.mp4", "damaged")]
    again = SkippedVideos(tmp_path / "skipped.csv")
    assert again.add([(str(tmp_path / "videos" / "a.mp4"), "damaged"), ("videos/../videos/a.mp4", "damaged")]) == []
    assert len(again) == 1
