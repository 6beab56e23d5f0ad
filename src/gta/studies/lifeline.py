"""Ending with the process that started this one."""

import os
import signal
import threading


def end_with_input() -> None:
    """Send SIGTERM to this process when its standard input ends.

    The study holds the other end of that pipe. When it stops, or is killed in whatever way, the pipe closes, and the
    cell's training writes a checkpoint and stops, as on any SIGTERM.
    """

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock, held here, would keep the interpreter from ending
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
