"""Trains the fake model in as many processes as asked; started by the tests as a program, and by Lightning again.

usage: process_program.py FOLDER DEVICES BATCH_SIZE [norm] [resume] [slow] [limit]
DEVICES may be "auto" under torchrun. slow: 50 ms per clip; limit: from the second epoch on, no file may
have over 2000 bytes.
"""

import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any, Literal

import engine_fakes as fakes
import torch

from gta.errors import GtaError
from gta.training.fit import fit
from gta.training.launch import create_fabric


class Videos(fakes.FakeVideos):
    """Slow, or with a limit on file sizes from the second epoch on, if asked."""

    slow = limit = False

    def __getitem__(self, key: Any) -> Any:
        time.sleep(0.05 * self.slow)
        if self.limit and isinstance(key, tuple) and key[0] >= 1:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        return super().__getitem__(key)


def main(
    folder: Path,
    devices: int | Literal["auto"],
    batch_size: int,
    *,
    norm: bool = False,
    resume: bool = False,
    slow: bool = False,
    limit: bool = False,
) -> None:
    """Train; the global batch is `devices` x `batch_size`. A checkpoint after every step must not change anything."""
    torch.set_num_threads(1)
    videos = Videos(24, bad=(5, 6))
    videos.slow, videos.limit = slow, limit
    optim = fakes.optim(lr_batch_size=8, ema_decay=0.5)
    run = fakes.run(folder, max_epochs=2, devices=devices, checkpoint_steps=1)
    fabric = create_fabric(run, optim)
    here = {"rank": fabric.global_rank, "world_size": fabric.world_size, "batch_size": batch_size}
    fit(
        fakes.model(dropout=0.0, norm=norm),
        fakes.loader(videos, shuffle=True, **here),
        fakes.loader(fakes.FakeVideos(11, seed=1), **here),
        prepare=fakes.Scale(),
        optim=optim,
        run=run,
        description=fakes.description(),
        resume=resume,
        live=False,
        fabric=fabric,
    )


if __name__ == "__main__":
    count = sys.argv[2]
    flags = {name: name in sys.argv[4:] for name in ("norm", "resume", "slow", "limit")}
    try:
        main(Path(sys.argv[1]), "auto" if count == "auto" else int(count), int(sys.argv[3]), **flags)
    except GtaError as error:  # as the command line does
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
