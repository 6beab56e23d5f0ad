"""The softmax blocks: non-local (NL), spatial (SA) and temporal (TA, TAPE) attention (the paper's Sec. 3.1 and 3.2)."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.expected import ExpectedShape, check_features
from gta.blocks.initialise import initialise_weights
from gta.blocks.projection import Norm, OutputProjection
from gta.ops.attention import attention_weights, dot_product_attention, pool_positions, softmax_attention
from gta.ops.encoding import sinusoidal_encoding
from gta.ops.layout import channels_last, from_tokens, to_tokens

Pool = Literal["after", "before", "none"]
Instantiation = Literal["softmax", "dot_product"]


def project_positions(
    qkv: nn.Linear, frames: Float[Tensor, "N S C"], height: int, width: int, *, pool: Pool
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (N, S, D) of every position, keys and values (N, P, D) of P positions, pooled within their frame.

    Args:
        qkv: C to 3 D: rows of queries, keys and values.
        frames: positions of each frame, S = height * width.
        height: rows of each frame (H).
        width: columns of each frame (W).
        pool: where keys and values are max-pooled 2x2: `after` the projection, `before` it, or not at all (`none`).
    """
    inner = qkv.out_features // 3
    if pool == "before":
        query = nn.functional.linear(frames, qkv.weight[:inner], qkv.bias[:inner])
        pooled = pool_positions(frames, height, width)
        key_value = nn.functional.linear(pooled, qkv.weight[inner:], qkv.bias[inner:])
    else:
        query, key_value = qkv(frames).split([inner, 2 * inner], dim=2)
        if pool == "after":
            key_value = pool_positions(key_value, height, width)
    key, value = key_value.chunk(2, dim=2)
    return query, key, value


class _PooledAttention(nn.Module):
    """What NL and SA share: queries of every position, keys and values of pooled positions.

    Queries, keys and values are the rows of one matrix `qkv`; with `pool="before"` its key and value rows read the
    pooled input instead.
    """

    def __init__(
        self, channels: int, inner_channels: int, *, pool: Pool, scaled: bool, norm: Norm, zero_init: bool
    ) -> None:
        super().__init__()
        if pool not in ("after", "before", "none"):
            raise ValueError(f"pool is {pool!r}: it must be 'after', 'before' or 'none'")
        self.channels = channels
        self.inner_channels = inner_channels
        self.pool: Pool = pool
        self.scaled = scaled
        self.qkv = nn.Linear(channels, 3 * inner_channels)
        self.output = OutputProjection(inner_channels, channels, norm=norm, zero_init=zero_init)
        initialise_weights(self)

    def project(self, features: Float[Tensor, "B C T H W"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, T, S, D) and keys and values (B, T, P, D), P pooled positions per frame."""
        clips = (features.shape[0], features.shape[2])
        frames = to_tokens(features).flatten(0, 1)
        query, key, value = project_positions(self.qkv, frames, *features.shape[3:], pool=self.pool)
        return query.unflatten(0, clips), key.unflatten(0, clips), value.unflatten(0, clips)

    def _finish(self, inner: Tensor, features: Tensor) -> Tensor:
        tokens = to_tokens(features)
        return from_tokens(self.output(inner, tokens), *features.shape[3:])

    def resize(self, num_frames: int) -> list[str]:
        """Any number of frames fits; nothing has to change."""
        return []


class NonLocal(_PooledAttention):
    """Attention among all positions of all frames (NL, Eqs. 1-4; Wang et al. 2018).

    Time and memory grow with `(T*S)^2`, which the paper's blocks avoid.

    Args:
        channels: C, width of the features.
        inner_channels: D, width of queries, keys and values; C/2 by default.
        pool: keys and values are max-pooled 2x2 within each frame after their projection, before it, or not at all.
        scaled: divide the similarities by sqrt(D).
        norm: norm of the residual branch.
        zero_init: let the block start as the identity.
        instantiation: `softmax` over the similarities, or `dot_product`, which divides them by the number of keys
            instead (Wang et al. 2018, Sec. 3.2; PySlowFast's default); `scaled` then has no effect.
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        pool: Pool = "after",
        scaled: bool = True,
        norm: Norm = "batch",
        zero_init: bool = True,
        instantiation: Instantiation = "softmax",
    ) -> None:
        super().__init__(
            channels, inner_channels or channels // 2, pool=pool, scaled=scaled, norm=norm, zero_init=zero_init
        )
        if instantiation not in ("softmax", "dot_product"):
            raise ValueError(f"instantiation is {instantiation!r}: it must be 'softmax' or 'dot_product'")
        self.instantiation = instantiation

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Let every position of features (B, C, T, H, W) attend to all (pooled) positions of all frames."""
        check_features(features, ExpectedShape(self.channels))
        features = channels_last(features)
        query, key, value = self.project(features)
        flat = query.flatten(1, 2), key.flatten(1, 2), value.flatten(1, 2)
        softmax = self.instantiation == "softmax"
        inner = softmax_attention(*flat, scaled=self.scaled) if softmax else dot_product_attention(*flat)
        return self._finish(inner.view(query.shape), features)

    def attention(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B L M"]:
        """The attention weights, `L = T*S` queries by `M = T*P` keys; for pictures."""
        query, key, _ = self.project(features)
        softmax = self.instantiation == "softmax"
        return attention_weights(query.flatten(1, 2), key.flatten(1, 2), scaled=self.scaled, softmax=softmax)


class SpatialAttention(_PooledAttention):
    """Attention among the positions of each frame (SA, the spatial half of decoupled non-local attention).

    The arguments are those of `NonLocal`, except that `inner_channels` is C/4 by default.
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        pool: Pool = "after",
        scaled: bool = True,
        norm: Norm = "batch",
        zero_init: bool = True,
    ) -> None:
        super().__init__(
            channels, inner_channels or channels // 4, pool=pool, scaled=scaled, norm=norm, zero_init=zero_init
        )

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Let every position of features (B, C, T, H, W) attend to all (pooled) positions of its own frame."""
        check_features(features, ExpectedShape(self.channels))
        features = channels_last(features)
        query, key, value = (part.flatten(0, 1) for part in self.project(features))
        inner = softmax_attention(query, key, value, scaled=self.scaled)
        return self._finish(inner.unflatten(0, (features.shape[0], features.shape[2])), features)

    def attention(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B T S P"]:
        """The attention weights of every frame; for pictures."""
        query, key, _ = self.project(features)
        return attention_weights(query, key, scaled=self.scaled)


class TemporalAttention(nn.Module):
    """Attention among the frames of each position (TA; with `encoding` TAPE).

    Without an encoding of time, permuting the frames only permutes the output in the same way.

    Args:
        channels: C, width of the features.
        inner_channels: D, width of queries, keys and values; C/4 by default.
        num_frames: T, the number of frames that the encoding is made for; needed only with `encoding`.
        encoding: add a sinusoidal encoding of the frame's number to the input of the projections (TAPE).
        scaled: divide the similarities by sqrt(D).
        norm: norm of the residual branch.
        zero_init: let the block start as the identity.
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        num_frames: int = 8,
        encoding: bool = False,
        scaled: bool = True,
        norm: Norm = "batch",
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.inner_channels = inner_channels or channels // 4
        self.num_frames = num_frames
        self.scaled = scaled
        self.qkv = nn.Linear(channels, 3 * self.inner_channels)
        self.output = OutputProjection(self.inner_channels, channels, norm=norm, zero_init=zero_init)
        self.encoding = encoding
        initialise_weights(self)

    def project(self, features: Float[Tensor, "B C T H W"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, S, T, D)."""
        qkv = self.qkv(to_tokens(features))
        if self.encoding:
            # The projection is linear, so the encoding is projected once instead of being added to every position.
            weight = self.qkv.weight
            encoding = sinusoidal_encoding(self.num_frames, self.channels, dtype=weight.dtype, device=weight.device)
            qkv = qkv + nn.functional.linear(encoding, weight)[:, None]
        query, key, value = qkv.transpose(1, 2).chunk(3, dim=3)
        return query, key, value

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Let every position of features (B, C, T, H, W) attend to itself in all frames."""
        check_features(features, ExpectedShape(self.channels, self.num_frames if self.encoding else None))
        features = channels_last(features)
        inner = softmax_attention(*self.project(features), scaled=self.scaled).transpose(1, 2)
        return from_tokens(self.output(inner, to_tokens(features)), *features.shape[3:])

    def attention(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B S T T"]:
        """The attention weights of every position; for pictures."""
        query, key, _ = self.project(features)
        return attention_weights(query, key, scaled=self.scaled)

    def resize(self, num_frames: int) -> list[str]:
        """Prepare for another number of frames; returns what was resized (the encoding is computed, not learned)."""
        self.num_frames = num_frames
        return []
