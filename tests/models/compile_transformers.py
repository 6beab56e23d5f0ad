"""Compile one network of each family in one graph and compare; prints the names that agree (run by a test)."""

import sys

import torch
from models_support import randomise
from transformer_families import FAMILIES, FRAMES, frames_of

from gta.backbones.insertion import AttendedBlock, insert_attention


def main(names):
    for name in names:
        torch.compiler.reset()
        family = FAMILIES[name]
        network = insert_attention(family.build(), block="gta", at=family.at, num_frames=FRAMES).eval()
        for module in network.modules():
            if isinstance(module, AttendedBlock):
                randomise(module.attention)
        frames = frames_of(family, 2)
        got = torch.compile(network, fullgraph=True, backend="eager")(frames)
        assert torch.allclose(got, network(frames), atol=1e-5), name
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
