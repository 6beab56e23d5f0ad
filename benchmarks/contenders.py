"""Blocks that ours is compared with: the non-local block as the field writes it, and SA + GTA written naively."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gta.blocks import create_block


class FieldNonLocal(nn.Module):
    """The non-local block as the field's code writes it: four convolutions and a materialised softmax."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.theta, self.phi, self.g = (nn.Conv3d(channels, inner, 1) for _ in range(3))
        self.out, self.norm = nn.Conv3d(inner, channels, 1), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend among all positions of all frames."""
        query = self.theta(x).flatten(2).transpose(1, 2)
        key = F.max_pool3d(self.phi(x), (1, 2, 2)).flatten(2)
        value = F.max_pool3d(self.g(x), (1, 2, 2)).flatten(2).transpose(1, 2)
        weights = F.softmax(query @ key * query.shape[2] ** -0.5, dim=-1)
        y = (weights @ value).transpose(1, 2).contiguous().view(x.shape[0], -1, *x.shape[2:])
        return x + self.norm(self.out(y))


class NaiveGTA(nn.Module):
    """SA and GTA written straight from the equations: separate convolutions, permutes, loops over groups and heads."""

    def __init__(self, channels: int, num_frames: int, groups: int = 8, regions: int = 8) -> None:
        super().__init__()
        inner = channels // 4
        self.groups = groups
        self.theta, self.phi, self.g = (nn.Conv3d(channels, inner, 1) for _ in range(3))
        self.out, self.norm = nn.Conv3d(inner, channels, 1), nn.BatchNorm3d(channels)
        self.pixel, self.region = nn.Conv3d(channels, inner, 1), nn.Conv3d(channels, inner, 1)
        self.assign = nn.Conv3d(channels, regions, 1)
        self.pixel_out, self.region_out = nn.Conv3d(inner, channels, 1), nn.Conv3d(inner, channels, 1)
        self.pixel_norm, self.region_norm = nn.BatchNorm3d(channels), nn.BatchNorm3d(channels)
        shape, scale = (groups, groups, num_frames, num_frames), (groups * num_frames) ** -0.5
        self.mixing, self.region_mixing = (nn.Parameter(torch.randn(shape) * scale) for _ in range(2))

    def spatial(self, x: Tensor) -> Tensor:
        """Attention inside each frame."""
        batch, _, frames, height, width = x.shape

        def rows(v: Tensor) -> Tensor:
            return v.permute(0, 2, 3, 4, 1).reshape(batch * frames, -1, v.shape[1])

        key, value = (F.max_pool3d(conv(x), (1, 2, 2)) for conv in (self.phi, self.g))
        query, key, value = rows(self.theta(x)), rows(key), rows(value)
        weights = F.softmax(query @ key.transpose(1, 2) * query.shape[2] ** -0.5, dim=-1)
        y = (weights @ value).view(batch, frames, height, width, -1).permute(0, 4, 1, 2, 3).contiguous()
        return x + self.norm(self.out(y))

    def mix(self, mixing: Tensor, value: Tensor) -> Tensor:
        """Eqs. 6-7 with loops, on (B, T, S, D)."""
        parts = value.chunk(self.groups, dim=3)
        heads = [
            sum(torch.einsum("tu,busc->btsc", mixing[g, k], parts[g]) for g in range(self.groups))
            for k in range(self.groups)
        ]
        return torch.cat(heads, dim=3)

    def forward(self, x: Tensor) -> Tensor:
        """SA, then X + pixel GTA + region GTA."""
        x = self.spatial(x)

        def rows(v: Tensor) -> Tensor:
            return v.flatten(3).permute(0, 2, 3, 1).contiguous()

        def images(v: Tensor) -> Tensor:
            return v.permute(0, 3, 1, 2).reshape(x.shape[0], -1, *x.shape[2:]).contiguous()

        pixel = images(self.mix(self.mixing, rows(self.pixel(x))))
        assignment = F.softmax(rows(self.assign(x)), dim=3)
        pooled = assignment.transpose(2, 3) @ rows(self.region(x)) / assignment.sum(dim=2).unsqueeze(-1)
        region = images(assignment @ self.mix(self.region_mixing, pooled))
        return x + self.pixel_norm(self.pixel_out(pixel)) + self.region_norm(self.region_out(region))


def contenders(channels: int, num_frames: int) -> dict[str, nn.Module]:
    """The blocks that are compared."""
    return {
        "ours": create_block("gta", channels=channels, num_frames=num_frames),
        "naive": NaiveGTA(channels, num_frames),
        "non-local": FieldNonLocal(channels),
    }
