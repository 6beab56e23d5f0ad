"""A short run of the fuzzer over the project's own files; `make fuzz` is the long one."""

from pathlib import Path

import pytest

from fuzz import _stored_jobs, fuzz
from stored import checkpoint_cases, index_cases


@pytest.mark.parametrize(("kind", "cases"), [("checkpoints", checkpoint_cases), ("indices", index_cases)])
def test_damaged_files_of_ours_are_read_or_refused_in_one_line(kind, cases, tmp_path: Path) -> None:
    tally = fuzz(kind, _stored_jobs(cases(5, 45)), tmp_path)
    assert tally.findings == []
    assert tally.outcomes["refused"] > 10
    assert tally.outcomes["read"] + tally.outcomes["refused"] == 45
