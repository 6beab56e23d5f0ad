"""The bar that the measuring commands show on a terminal."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def counted(what: str) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """Inside, a bar on standard error that is gone afterwards; nothing where that is no terminal.

    Args:
        what: what is being done, for the bar.

    Yields:
        What is called with the number of videos, and gives what is called with the number of each batch.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as progress:

        def start(total: int) -> Callable[[int], None]:
            task = progress.add_task(what, total=total)
            return lambda count: progress.advance(task, count)

        yield start
