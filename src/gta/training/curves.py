"""TensorBoard's curves of a run. They are an extra: a disk that has no room for them does not stop the training."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Curves = Callable[[str, float, int], None]
"""Called with (name, value, step)."""


@contextlib.contextmanager
def open_curves(folder: Path, say: Callable[[str], None], *, resumed_at: int | None = None) -> Iterator[Curves | None]:
    """Write curves into a run folder; None, and one line instead, where TensorBoard is not installed.

    If the files cannot be written (any more), that is said once and the run goes on without: what matters more,
    checkpoints and metrics, reports a full disk by itself.

    Args:
        folder: the run folder.
        say: shows a line to the user.
        resumed_at: the step that a resumed run continues from: later values, which are computed again, are dropped.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        say("TensorBoard is not installed: no curves for it (pip install 'gta-video[tensorboard]')")
        yield None
        return
    writer: Any = None
    works = True

    def give_up(error: OSError) -> None:
        nonlocal works
        if works:
            works = False
            say(
                f"warning: {folder}: TensorBoard's curves end here, because they cannot be written: "
                f"{error.strerror or error}"
            )

    def add(name: str, value: float, step: int) -> None:
        if works:
            try:
                writer.add_scalar(name, value, step)
            except OSError as error:
                give_up(error)

    with _quiet_writer_thread():
        try:
            writer = SummaryWriter(str(folder), purge_step=None if resumed_at is None else resumed_at + 1)
        except OSError as error:
            give_up(error)
        try:
            yield add
        finally:
            if writer is not None:
                try:
                    writer.close()
                except OSError as error:
                    give_up(error)


@contextlib.contextmanager
def _quiet_writer_thread() -> Iterator[None]:
    """Keep the traceback of TensorBoard's writing thread off the screen; the next `add_scalar` raises its error."""
    former = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        ours = type(arguments.thread).__module__.startswith("tensorboard.")
        if not (ours and isinstance(arguments.exc_value, OSError)):
            former(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = former
