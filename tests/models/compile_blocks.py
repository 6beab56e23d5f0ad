"""Compile the named blocks in one graph each and compare; prints the names that agree (run by test_blocks.py)."""

import sys

import torch
from models_support import randomise

from gta.backbones.insertion import insert_attention
from gta.blocks import create_block
from gta.blocks.fused import fuse


def close(got, want):
    return torch.allclose(got, want, atol=1e-5)


def main(names):
    x = torch.randn(2, 16, 4, 4, 4)
    for name in names:
        torch.compiler.reset()
        block = randomise(create_block(name, channels=16, num_frames=4)).eval()
        compiled = torch.compile(block, fullgraph=True, backend="eager")
        given, same = x.clone().requires_grad_(), x.clone().requires_grad_()
        out, want = compiled(given), block(same)
        out.square().sum().backward()
        want.square().sum().backward()
        with torch.no_grad():
            assert close(out, want), name
            assert close(given.grad, same.grad), name
            assert close(torch.compile(fuse(block), backend="aot_eager")(x), want), f"fused {name}"
        print(name)
    torch.compiler.reset()
    block = randomise(create_block("gta", channels=16, num_frames=4)).eval()
    with torch.no_grad():
        assert close(torch.compile(block, fullgraph=True, backend="aot_eager")(x), block(x)), "without gradients"
        assert close(torch.compile(block, fullgraph=True)(x), block(x)), "inductor"
    host = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU())
    insert_attention(host, block="gta", at=["0"], num_frames=4)
    randomise(host).eval()
    frames = torch.randn(8, 3, 4, 4)
    assert close(torch.compile(host, fullgraph=True, backend="aot_eager")(frames), host(frames)), "inserted"


if __name__ == "__main__":
    main(sys.argv[1:])
