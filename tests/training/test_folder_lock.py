"""A run folder belongs to one living process, and its loss is not passed over."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import engine_fakes as fakes
import pytest
from test_engine_fit import train
from torch import Tensor, nn

from gta.errors import RunFolderError
from gta.training.folder_lock import FolderLock

# Holds a folder, and has a child, as a run has loader workers; says both numbers and waits.
_HOLDER = """
import os, sys, time
from pathlib import Path
from gta.training.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(os.getpid(), child, flush=True)
time.sleep(60)
"""


def test_a_folder_in_use_is_refused_until_its_process_dies(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, max_epochs=1)
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        parent, child = map(int, holder.stdout.readline().split())
        try:
            with pytest.raises(RunFolderError, match=rf"process {parent} is using this run folder: wait"):
                train(folder, max_epochs=2, resume=True)
            os.kill(parent, signal.SIGKILL)  # its child lives on
            holder.wait()
            assert train(folder, max_epochs=2, resume=True).resumed
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_run_lets_its_folder_go(tmp_path: Path) -> None:
    train(tmp_path / "run", max_epochs=1)
    FolderLock(tmp_path / "run").release()
    lock = FolderLock(tmp_path / "run")
    with pytest.raises(RunFolderError, match=f"process {os.getpid()} is using"):
        FolderLock(tmp_path / "run")
    del lock
    FolderLock(tmp_path / "run").release()


_FORKS = """
import os, sys
from pathlib import Path
from gta.training.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
child = os.fork()
if child == 0:
    other = os.open(os.devnull, os.O_RDONLY)  # gets the lowest free number, that of the lock
    del lock
    os.fstat(other)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_worker_does_not_close_other_files_with_the_lock(tmp_path: Path) -> None:
    program = [sys.executable, "-c", _FORKS, str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")


class Vandal(nn.Module):
    """Normalises clips, and does away with a folder on the way."""

    def __init__(self, folder: Path, *, moved: bool) -> None:
        super().__init__()
        self.folder, self.moved, self.calls = folder, moved, 0

    def forward(self, clip: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 5:
            if self.moved:
                self.folder.rename(self.folder.with_name("elsewhere"))
            else:
                shutil.rmtree(self.folder)
        return fakes.Scale()(clip)


@pytest.mark.parametrize("moved", [False, True])
def test_a_folder_that_is_gone_stops_the_run(tmp_path: Path, moved: bool) -> None:
    folder = tmp_path / "run"
    with pytest.raises(RunFolderError, match="the run folder was deleted or moved during the run"):
        train(folder, prepare=Vandal(folder, moved=moved), max_epochs=3)
    assert not (folder / "last.ckpt").exists()
