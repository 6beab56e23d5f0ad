"""Trains the fake model in as many processes as asked; started by the tests as a program, and by Lightning again.

usage: process_program.py FOLDER DEVICES BATCH_SIZE [norm]      DEVICES may be "auto" under torchrun
"""

import sys
from pathlib import Path
from typing import Literal

import engine_fakes as fakes
import torch

from gta.engine.fit import fit
from gta.engine.launch import find_process


def main(folder: Path, devices: int | Literal["auto"], batch_size: int, *, norm: bool = False) -> None:
    """Train; the global batch is `devices` x `batch_size`. A checkpoint after every step must not change anything."""
    torch.set_num_threads(1)
    optim = fakes.optim(lr_batch_size=8, ema_decay=0.5)
    run = fakes.run(folder, max_epochs=2, devices=devices, checkpoint_steps=1)
    process = find_process(run, optim)
    here = {"rank": process.rank, "world_size": process.world_size, "batch_size": batch_size}
    fit(
        fakes.model(dropout=0.0, norm=norm),
        fakes.loader(fakes.FakeVideos(24, bad=(5, 6)), shuffle=True, **here),
        fakes.loader(fakes.FakeVideos(11, seed=1), **here),
        prepare=fakes.Scale(),
        optim=optim,
        run=run,
        description=fakes.description(),
        live=False,
    )


if __name__ == "__main__":
    count = sys.argv[2]
    main(Path(sys.argv[1]), "auto" if count == "auto" else int(count), int(sys.argv[3]), norm="norm" in sys.argv[4:])
