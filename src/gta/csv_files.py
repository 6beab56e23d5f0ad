"""CSV tables as the project writes and reads them back (floor 0).

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, and names of files and classes come from
anywhere. Such cells get an apostrophe in front, which spreadsheets hide; `read_rows` takes it away again. Numbers stay.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gta.errors import DataError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def table_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV text, safe to open in a spreadsheet.

    Args:
        header: names of the columns.
        rows: values of each row, in the order of the columns; None becomes an empty cell.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_guard(value) for value in row] for row in rows)
    return text.getvalue()


def read_rows(path: str | Path) -> Iterator[list[str]]:
    """The rows of a table, the header included, with cells as they were before `table_text` guarded them.

    Raises:
        DataError: the file is not a CSV table, such as one with a quotation mark that is never closed.
        OSError: it cannot be read.
    """
    with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.reader(file, strict=True)
        try:
            for row in reader:
                yield [cell[1:] if _GUARDED.match(cell) else cell for cell in row]
        except csv.Error as error:
            raise DataError(f"{path}: line {reader.line_num} is not CSV ({error})") from None


def _guard(value: Any) -> Any:
    if not isinstance(value, str) or not _FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
