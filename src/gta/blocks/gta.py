"""Global temporal attention over pixels and regions (the paper's Sec. 3.3 and 3.4)."""

from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.expected import ExpectedShape, check_features
from gta.blocks.frame_mixing import FrameMixing
from gta.blocks.initialise import initialise_weights
from gta.blocks.mixing_options import MixingArguments, MixingOptions
from gta.blocks.projection import Norm, OutputProjection
from gta.ops.layout import channels_last, from_tokens, to_tokens
from gta.ops.mixing import pool_regions, resize_assignment, spread_regions

Regions = Literal["predicted", "constant"]


class GlobalTemporalAttention(FrameMixing):
    """Pixel GTA, region GTA, or both computed from the same input and added (Eq. 8).

    `X + norm([mix(X W_V); A mix'(pool(X W_V'))] W)`: the values of pixels (Eqs. 5-7) and of regions are mixed over
    time, each by their own learned matrices M (Fig. 2(c): `mixing` and `region_mixing`, shape (G, N_h, T, T); row =
    output frame; no softmax), and share one projection and one norm. The projection maps the `N_h * D / G` channels of
    both back to C, so it is also the extra layer that Sec. 3.3 needs if N_h differs from G.

    Args:
        channels: C, width of the features.
        num_frames: number of frames (T).
        pixel: mix the values of every position.
        region: mix the values of regions and distribute them back to the positions.
        num_groups: number of groups (G).
        num_heads: N_h; G by default.
        num_regions: number of regions (R).
        inner_channels: D, width of the values; by default C/4, rounded up to a multiple of G.
        regions: `predicted` from the input by a 1x1 convolution and a softmax over the regions, or a learned `constant`
            for each frame and position.
        region_size: (H, W) of the features; needed for constant regions only.
        norm: norm of the residual branch.
        zero_init: start the block as the identity.
        mixing: what M is made of and applied to, the fields of `MixingOptions`: `share_mixing`, `mixing_init`,
            `toeplitz`, `causal`, `dynamic_rank`, `gate`, `differences`.

    Raises:
        ValueError: a number is below 1, `channels` or `inner_channels` cannot be divided into the groups, or
            `region_size` is missing for constant regions.
    """

    def __init__(
        self,
        channels: int,
        num_frames: int,
        *,
        pixel: bool = True,
        region: bool = True,
        num_groups: int = 8,
        num_heads: int | None = None,
        num_regions: int = 8,
        inner_channels: int | None = None,
        regions: Regions = "predicted",
        region_size: tuple[int, int] | None = None,
        norm: Norm = "batch",
        zero_init: bool = True,
        **mixing: Unpack[MixingArguments],
    ) -> None:
        heads = num_groups if num_heads is None else num_heads
        if not (pixel or region):
            raise ValueError("global temporal attention needs pixels, regions or both")
        counts = {"num_frames": num_frames, "num_groups": num_groups, "num_heads": heads, "num_regions": num_regions}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} is {count}: it must be at least 1")
        if channels % num_groups:
            raise ValueError(f"{channels} channels do not divide into {num_groups} groups")
        inner = inner_channels or -(-channels // (4 * num_groups)) * num_groups
        if inner % num_groups:
            raise ValueError(f"{inner} inner channels do not divide into {num_groups} groups")
        if regions not in ("predicted", "constant"):
            raise ValueError(f"regions is {regions!r}: it must be 'predicted' or 'constant'")
        super().__init__(
            channels,
            num_frames,
            pixel=pixel,
            region=region,
            num_groups=num_groups,
            num_heads=heads,
            options=MixingOptions(**mixing),
        )
        self.channels = channels
        self.inner_channels = inner
        self.num_regions = num_regions
        self.pixel = pixel
        self.region = region
        predicted = region and regions == "predicted"
        levels = int(pixel) + int(region)
        # Rows: values of pixels, values of regions, region logits. All read the same input: one matrix product.
        self.widths = [inner] * levels + [num_regions] * predicted
        self.values = nn.Linear(channels, sum(self.widths))
        self.output = OutputProjection(levels * heads * (inner // num_groups), channels, norm=norm, zero_init=zero_init)
        self.region_size = region_size
        if region and not predicted:
            if region_size is None:
                raise ValueError("constant regions need region_size, the (height, width) of the features")
            positions = region_size[0] * region_size[1]
            self.assignment = nn.Parameter(torch.empty(num_frames, positions, num_regions))
        else:
            self.assignment = None
        initialise_weights(self)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Mix the frames of features (B, C, T, H, W); T must be `num_frames`, except with `toeplitz`."""
        check_features(features, self.expected())
        tokens = to_tokens(channels_last(features))
        parts = list(self.values(tokens).split(self.widths, dim=3))
        mixed = []
        if self.pixel:
            mixed.append(self.mix("pixel", parts.pop(0), tokens))
        if self.region:
            value = parts.pop(0)
            assignment = self._assign(parts, features)
            pooled = pool_regions(value, assignment)
            mixed.append(spread_regions(self.mix("region", pooled, tokens), assignment))
        inner = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=3)
        return from_tokens(self.output(inner, tokens), *features.shape[3:])

    def expected(self) -> ExpectedShape:
        """What the features' sizes must be; M of lags fits any number of frames, predicted regions any size."""
        constant = self.assignment is not None
        frames = self.num_frames if constant or not self.mixing_options.toeplitz else None
        return ExpectedShape(self.channels, frames, self.region_size if constant else None)

    def constant_assignment(self) -> Float[Tensor, "T S R"] | None:
        """Weights of each position in each region if they are a learned constant, or None if they are predicted."""
        return None if self.assignment is None else F.softmax(self.assignment, dim=2)

    def _assign(self, logits: list[Tensor], features: Tensor) -> Tensor:
        """Weights (B, T, S, R) of each position in each region; they sum to 1 over the regions."""
        constant = self.constant_assignment()
        return F.softmax(logits[0], dim=3) if constant is None else constant.expand(features.shape[0], *constant.shape)

    def regions(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B T R H W"]:
        """The region assignment as images, R of them for each frame; for pictures."""
        if not self.region:
            raise ValueError("this block has no regions")
        check_features(features, self.expected())
        parts = self.values(to_tokens(features)).split(self.widths, dim=3)
        assignment = self._assign([parts[-1]], features)
        return assignment.transpose(2, 3).unflatten(3, tuple(features.shape[3:]))

    def resize(self, num_frames: int) -> list[str]:
        """Fit what is learned per frame to `num_frames`: interpolated, but the lags of a Toeplitz M stay as they are.

        Returns:
            The names of the parameters that were resized.
        """
        if num_frames == self.num_frames:
            return []
        resized = self.resize_matrices(num_frames)
        if self.assignment is not None:
            resized_assignment = resize_assignment(self.assignment.detach(), num_frames)
            self.assignment = nn.Parameter(resized_assignment, self.assignment.requires_grad)
            resized.append("assignment")
        self.num_frames = num_frames
        return resized
