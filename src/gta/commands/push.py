"""`gta push`: a model with its page to a hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gta.commands.arguments import CheckpointPath, parse_arguments
from gta.terminal import print_line


@dataclass(frozen=True)
class PushArguments:
    """Upload a model to a Hugging Face hub: weights, card, and a page about its training and evaluation.

    The token is taken from HF_TOKEN or `hf auth login`, the hub from HF_ENDPOINT.
    """

    checkpoint: CheckpointPath
    """Checkpoint (.ckpt) of a training run; the page also uses the files next to it."""
    dest: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OWNER/NAME")]
    """Repository, owner/name; created if it does not exist."""
    private: bool = False
    """Make a new repository private."""
    output: Path | None = None
    """Write the repository into this folder and upload nothing."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta push`."""
    options = parse_arguments(PushArguments, arguments, command="gta push", renamed={"--folder": "--output"})
    from gta.runs.hub import push

    print_line(push(options.checkpoint, options.dest, folder=options.output, private=options.private))
