"""Recognising networks that this package does not have, so that their weights are refused by the right name."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from gta.errors import CheckpointError


@dataclass(frozen=True)
class _Mark:
    """A network and what gives it away: a key that matches, of a tensor for which `shape` holds."""

    network: str
    key: str
    shape: Callable[[tuple[int, ...]], bool] = lambda _: True


def _depthwise(shape: tuple[int, ...]) -> bool:
    return len(shape) == 5 and shape[1] == 1 and shape[0] > 1 and shape[2] > 1


def _solid(shape: tuple[int, ...]) -> bool:
    return len(shape) == 5


# In order: what is special comes before what is general.
_MARKS: tuple[_Mark, ...] = (
    _Mark("MobileNet-TSM", r"^base_model\.features\.\d+\."),
    _Mark("BNInception of TSN or TSM", r"^base_model\.(?:conv1_7x7_s2|inception_)"),
    _Mark("TSM with shifts outside the residual branch (shift_place='block')", r"\.layer\d\.\d+\.net\.conv1\."),
    _Mark("TSM with temporal pooling", r"base_model\.layer2\.net\."),
    _Mark("a network of mmaction2", r"^cls_head\.|^backbone\.(?:conv1\.conv|layer\d|\w+_path|patch_embed)\."),
    _Mark("AVSlowFast (with sound)", r"pathway2_(?:stem|res\d)"),
    _Mark("X3D", r"^(?:s1\.pathway0_stem\.conv_xy|blocks\.0\.conv\.conv_(?:t|xy)|.*\.norm_b\.1\.block\.)"),
    _Mark("X3D", r"\.branch2\.b(?:_bn)?\.", _depthwise),
    _Mark("CSN", r"\.branch2\.conv_b\.weight$", _depthwise),
    _Mark("CSN", r"\.layer\d\.\d+\.conv2\.weight$|^layer\d\.\d+\.conv2\.weight$", _depthwise),
    _Mark("R(2+1)D", r"\.conv_b\.conv_(?:t|xy)\.|layer\d\.\d+\.conv\d\.0\.3\.|_middle_w$|\.spatial_conv\."),
    _Mark("MViT", r"\.attn\.(?:pool_[qkv]|norm_[qkv]|project_[qkv])\b|cls_positional_encoding"),
    _Mark("MViT", r"^pos_encoding\.(?:spatial|temporal|class)_pos"),
    _Mark("TimeSformer", r"\.temporal_attn\.|\.temporal_fc\."),
    _Mark("a Swin transformer", r"relative_position_bias_table$"),
    _Mark("a video transformer (VideoMAE, ViViT or the like)", r"patch_embed\.(?:proj|projection)\.weight$", _solid),
    _Mark("a vision transformer", r"(?:^|\.)(?:cls_token|pos_embed|class_token|class_embedding)$"),
    _Mark("S3D", r"^(?:features\.\d+\.0\.0|base\.\d+\.conv_s|.*sepConv)", _solid),
    _Mark("Inception I3D", r"Conv3d_1a_7x7|Mixed_\d[a-f]\.|conv3d_1a_7x7|mixed_\d[a-f]\."),
    _Mark("C3D", r"^(?:conv3a|conv3b|conv4b)\.weight$"),
    _Mark("a 3D ResNet with 3x3x3 convolutions", r"^(?:conv1|stem\.0|layer\d\.\d+\.conv\d(?:\.0)?)\.weight$", _solid),
)  # fmt: skip


def name_foreign(tensors: Mapping[str, Tensor]) -> str | None:
    """The network that weights belong to, if it is one that this package does not have; None if nothing says so."""
    for mark in _MARKS:
        if any(re.search(mark.key, key) and mark.shape(tuple(value.shape)) for key, value in tensors.items()):
            return mark.network
    return None


def refuse_foreign(tensors: Mapping[str, Tensor], source: str, *, but: Collection[str] = ()) -> None:
    """Raise CheckpointError for weights of a network that this package does not have, `but` for some."""
    network = name_foreign(tensors)
    if network is not None and network not in but:
        raise CheckpointError(
            f"{source}: these are weights of {network}, which gta does not support: "
            "it reads ResNet, TSM (ResNet), C2D, I3D (ResNet), Slow and SlowFast, each also with non-local blocks, and "
            "the networks of timm and torchvision if they are named as the model"
        )
