"""Trains the fake model in as many processes as asked; started by the tests as a program, and by Lightning again.

usage: process_program.py FOLDER DEVICES BATCH_SIZE
"""

import sys
from pathlib import Path

import engine_fakes as fakes
import torch

from gta.engine.fit import fit
from gta.engine.launch import find_process


def main(folder: Path, devices: int, batch_size: int) -> None:
    """Train; the global batch is `devices` x `batch_size`."""
    torch.set_num_threads(1)
    optim = fakes.optim(lr_batch_size=8, ema_decay=0.5)
    run = fakes.run(folder, max_epochs=2, devices=devices)
    process = find_process(run, optim)
    here = {"rank": process.rank, "world_size": process.world_size, "batch_size": batch_size}
    fit(
        fakes.model(dropout=0.0, norm=False),
        fakes.loader(fakes.FakeVideos(24, bad=(5, 6)), shuffle=True, **here),
        fakes.loader(fakes.FakeVideos(11, seed=1), **here),
        prepare=fakes.Scale(),
        optim=optim,
        run=run,
        description=fakes.description(),
        live=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
