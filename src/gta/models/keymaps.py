"""How other code bases name their weights, as data: rules that turn their keys into ours.

A key map is a list of substitutions, applied to each key in order like a sed script. Target keys are canonical: those
of the bare backbone, without the wrappers of inserted attention and shifts. A suffix `#0`, `#1`, `#2` marks the parts
(queries, keys, values) that are joined row-wise into one matrix.
"""

import re
from dataclasses import dataclass

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class KeyMap:
    """One layout of keys.

    Args:
        name: what it is, for reports.
        target: kind of backbone that it fits: `framewise`, `c2d`, `slowfast` or `torchvision`.
        marks: patterns of which each must match some key.
        absent: patterns of which none may match any key.
        rules: (pattern, replacement), applied in order.
        ignored: patterns of keys that are no weights of the model.
        known_as: what `gta.models.foreign` calls its networks, which a user has to name: timm's or torchvision's own.
    """

    name: str
    target: str
    marks: tuple[str, ...]
    rules: Rules
    absent: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    known_as: tuple[str, ...] = ()


_BLOCK_3D: Rules = (  # inside a residual block, once its place is known
    (r"\.(?:branch1_conv|branch1)\.(weight)$", r".shortcut.conv.\1"),
    (r"\.(?:branch1_norm|branch1_bn)\.", r".shortcut.norm."),
    (r"\.branch2\.(?:conv_)?([abc])\.", r".conv_\1."),
    (r"\.branch2\.(?:norm_([abc])|([abc])_bn)\.", r".norm_\1\2."),
)

_NONLOCAL_PARTS: Rules = (
    (r"\.attention\.conv_theta\.(\w+)$", r".attention.qkv.\1#0"),
    (r"\.attention\.conv_phi\.(\w+)$", r".attention.qkv.\1#1"),
    (r"\.attention\.conv_g\.(\w+)$", r".attention.qkv.\1#2"),
    (r"\.attention\.conv_out\.", r".attention.output.linear."),
    (r"\.attention\.(?:norm|bn)\.", r".attention.output.norm."),
)

_TSM_RULES: Rules = (
    (r"^new_fc\.", r"head."),
    (r"^base_model\.fc\.", r"head."),  # trained with dropout 0
    (r"^base_model\.", r"backbone.network."),
    (r"\.block\.", r"."),
    (r"\.conv1\.net\.", r".conv1."),
    (r"\.nl\.theta\.(\w+)$", r".attention.qkv.\1#0"),
    (r"\.nl\.phi\.(?:0\.)?(\w+)$", r".attention.qkv.\1#1"),
    (r"\.nl\.g\.(?:0\.)?(\w+)$", r".attention.qkv.\1#2"),
    (r"\.nl\.W\.0\.", r".attention.output.linear."),
    (r"\.nl\.W\.1\.", r".attention.output.norm."),
)


def _with_classifier(*names: str) -> Rules:
    """The keys of a network as they are, under the backbone; those of its classifier, which has one of these names."""
    return (
        (rf"^(?:{'|'.join(map(re.escape, names))})\.(weight|bias)$", r"classifier.\1"),
        (r"^(?!classifier\.)", r"backbone.network."),
        (r"^classifier\.", r"head."),
    )


_IMAGE_RULES = _with_classifier("fc", "classifier", "head.fc", "head")  # of timm and torchvision
_TORCHVISION_RULES = _with_classifier("fc", "head", "head.1", "classifier.1")  # of its video networks

_IMAGE_TO_C2D: Rules = (
    (r"^fc\.", r"head."),
    (r"^conv1\.", r"backbone.pathway.stem.conv."),
    (r"^bn1\.", r"backbone.pathway.stem.norm."),
    (r"^layer1\.", r"backbone.pathway.res2."),
    (r"^layer2\.", r"backbone.pathway.res3."),
    (r"^layer3\.", r"backbone.pathway.res4."),
    (r"^layer4\.", r"backbone.pathway.res5."),
    (r"\.conv1\.", r".conv_a."),
    (r"\.conv2\.", r".conv_b."),
    (r"\.conv3\.", r".conv_c."),
    (r"\.bn1\.", r".norm_a."),
    (r"\.bn2\.", r".norm_b."),
    (r"\.bn3\.", r".norm_c."),
    (r"\.downsample\.0\.", r".shortcut.conv."),
    (r"\.downsample\.1\.", r".shortcut.norm."),
)

_PYSLOWFAST_SLOW_AND_FAST: Rules = (
    (r"^head\.projection\.", r"head."),
    (r"^s1_fuse\.conv_f2s\.", r"backbone.laterals.stem.conv."),
    (r"^s1_fuse\.bn\.", r"backbone.laterals.stem.norm."),
    (r"^s(\d)_fuse\.conv_f2s\.", r"backbone.laterals.res\1.conv."),
    (r"^s(\d)_fuse\.bn\.", r"backbone.laterals.res\1.norm."),
    (r"^s1\.pathway0_stem\.conv\.", r"backbone.slow.stem.conv."),
    (r"^s1\.pathway0_stem\.bn\.", r"backbone.slow.stem.norm."),
    (r"^s1\.pathway1_stem\.conv\.", r"backbone.fast.stem.conv."),
    (r"^s1\.pathway1_stem\.bn\.", r"backbone.fast.stem.norm."),
    (r"^s(\d)\.pathway0_res(\d+)\.", r"backbone.slow.res\1.\2."),
    (r"^s(\d)\.pathway1_res(\d+)\.", r"backbone.fast.res\1.\2."),
    (r"^s(\d)\.pathway0_nonlocal(\d+)\.", r"backbone.slow.res\1.\2.attention."),
    *_BLOCK_3D,
    *_NONLOCAL_PARTS,
)

_PYSLOWFAST_ONE_PATHWAY: Rules = (*_PYSLOWFAST_SLOW_AND_FAST, (r"^backbone\.slow\.", r"backbone.pathway."))

# Caffe2 blobs of the same code base -> its PyTorch names.
_CAFFE2_NAMES: Rules = (
    (r"^pred_", r"head.projection._"),
    (r"^nonlocal_conv(\d)_(\d+)_bn_", r"s\1.pathway0_nonlocal\2.norm._"),
    (r"^nonlocal_conv(\d)_(\d+)_(theta|phi|g|out)_", r"s\1.pathway0_nonlocal\2.conv_\3._"),
    (r"^t_pool1_subsample_bn_", r"s1_fuse.bn._"),
    (r"^t_pool1_subsample_", r"s1_fuse.conv_f2s._"),
    (r"^t_res(\d)_\d+_branch2c_bn_subsample_bn_", r"s\1_fuse.bn._"),
    (r"^t_res(\d)_\d+_branch2c_bn_subsample_", r"s\1_fuse.conv_f2s._"),
    (r"^t_res_conv1_bn_", r"s1.pathway1_stem.bn._"),
    (r"^t_conv1_", r"s1.pathway1_stem.conv._"),
    (r"^t_res(\d)_(\d+)_branch1_bn_", r"s\1.pathway1_res\2.branch1_bn._"),
    (r"^t_res(\d)_(\d+)_branch1_", r"s\1.pathway1_res\2.branch1._"),
    (r"^t_res(\d)_(\d+)_branch2([abc])_bn_", r"s\1.pathway1_res\2.branch2.\3_bn._"),
    (r"^t_res(\d)_(\d+)_branch2([abc])_", r"s\1.pathway1_res\2.branch2.\3._"),
    (r"^res_conv1_bn_", r"s1.pathway0_stem.bn._"),
    (r"^conv1_", r"s1.pathway0_stem.conv._"),
    (r"^res(\d)_(\d+)_branch1_bn_", r"s\1.pathway0_res\2.branch1_bn._"),
    (r"^res(\d)_(\d+)_branch1_", r"s\1.pathway0_res\2.branch1._"),
    (r"^res(\d)_(\d+)_branch2([abc])_bn_", r"s\1.pathway0_res\2.branch2.\3_bn._"),
    (r"^res(\d)_(\d+)_branch2([abc])_", r"s\1.pathway0_res\2.branch2.\3._"),
    (r"\._w$", r".weight"),
    (r"\._s$", r".weight"),
    (r"\._b$", r".bias"),
    (r"\._rm$", r".running_mean"),
    (r"\._riv$", r".running_var"),
)

_PYTORCHVIDEO_SLOWFAST: Rules = (
    (r"^blocks\.6\.proj\.", r"head."),
    (r"^blocks\.0\.multipathway_blocks\.0\.", r"backbone.slow.stem."),
    (r"^blocks\.0\.multipathway_blocks\.1\.", r"backbone.fast.stem."),
    (r"^blocks\.0\.multipathway_fusion\.", r"backbone.laterals.stem."),
    (r"^blocks\.1\.multipathway_fusion\.", r"backbone.laterals.res2."),
    (r"^blocks\.2\.multipathway_fusion\.", r"backbone.laterals.res3."),
    (r"^blocks\.3\.multipathway_fusion\.", r"backbone.laterals.res4."),
    (r"\.conv_fast_to_slow\.", r".conv."),
    (r"^blocks\.1\.multipathway_blocks\.(\d)\.", r"pathway\1.res2."),
    (r"^blocks\.2\.multipathway_blocks\.(\d)\.", r"pathway\1.res3."),
    (r"^blocks\.3\.multipathway_blocks\.(\d)\.", r"pathway\1.res4."),
    (r"^blocks\.4\.multipathway_blocks\.(\d)\.", r"pathway\1.res5."),
    (r"^pathway0\.", r"backbone.slow."),
    (r"^pathway1\.", r"backbone.fast."),
    (r"\.res_blocks\.", r"."),
    *_BLOCK_3D,
)


def _pytorchvideo_c2d(stages: tuple[int, int, int, int], head: int) -> Rules:
    """The blocks' numbers depend on whether a pool stands after res2."""
    numbered = tuple(
        (rf"^blocks\.{number}\.res_blocks\.", rf"backbone.pathway.res{index}.")
        for index, number in enumerate(stages, start=2)
    )
    stem = (r"^blocks\.0\.", r"backbone.pathway.stem.")
    return ((rf"^blocks\.{head}\.proj\.", r"head."), stem, *numbered, *_BLOCK_3D)


_CAFFE2_IGNORED = (r"_momentum$", r"^lr$", r"^model_iter$", r"^current_iter$", r"^cur_iter$")

KEY_MAPS: tuple[KeyMap, ...] = (
    KeyMap("TSM", "framewise", (r"^base_model\.conv1\.",), _TSM_RULES),
    KeyMap("PySlowFast SlowFast", "slowfast", (r"^s1_fuse\.",), _PYSLOWFAST_SLOW_AND_FAST),
    KeyMap("PySlowFast C2D", "c2d", (r"^s1\.pathway0_stem\.",), _PYSLOWFAST_ONE_PATHWAY, absent=(r"^s1_fuse\.",)),
    KeyMap(
        "Caffe2 SlowFast",
        "slowfast",
        (r"^t_pool1_subsample_",),
        (*_CAFFE2_NAMES, *_PYSLOWFAST_SLOW_AND_FAST),
        ignored=_CAFFE2_IGNORED,
    ),
    KeyMap(
        "Caffe2 C2D",
        "c2d",
        (r"^res_conv1_bn_",),
        (*_CAFFE2_NAMES, *_PYSLOWFAST_ONE_PATHWAY),
        absent=(r"^t_pool1_subsample_",),
        ignored=_CAFFE2_IGNORED,
    ),
    KeyMap("pytorchvideo SlowFast", "slowfast", (r"^blocks\.0\.multipathway_fusion\.",), _PYTORCHVIDEO_SLOWFAST),
    KeyMap(
        "pytorchvideo C2D",
        "c2d",
        (r"^blocks\.1\.res_blocks\.", r"^blocks\.6\.proj\."),
        _pytorchvideo_c2d((1, 3, 4, 5), 6),
    ),
    KeyMap(
        "pytorchvideo C2D without temporal pool",
        "c2d",
        (r"^blocks\.1\.res_blocks\.", r"^blocks\.5\.proj\."),
        _pytorchvideo_c2d((1, 2, 3, 4), 5),
    ),
    KeyMap(
        "torchvision 3D ResNet",
        "torchvision",
        (r"^stem\.0\.", r"^layer4\."),
        _TORCHVISION_RULES,
        known_as=("a 3D ResNet with 3x3x3 convolutions", "R(2+1)D"),
    ),
    KeyMap(
        "torchvision S3D",
        "torchvision",
        (r"^features\.0\.0\.0\.", r"^classifier\.1\."),
        _TORCHVISION_RULES,
        known_as=("S3D",),
    ),
    KeyMap(
        "torchvision Video Swin",
        "torchvision",
        (r"^patch_embed\.proj\.", r"^features\."),
        _TORCHVISION_RULES,
        known_as=("a Swin transformer",),
    ),
    KeyMap(
        "torchvision MViT", "torchvision", (r"^conv_proj\.", r"^pos_encoding\."), _TORCHVISION_RULES, known_as=("MViT",)
    ),
    KeyMap("ImageNet ResNet", "framewise", (r"^conv1\.", r"^layer4\."), _IMAGE_RULES),
    KeyMap("ImageNet ResNet", "c2d", (r"^conv1\.", r"^layer4\."), _IMAGE_TO_C2D),
    KeyMap(
        "timm network",
        "framewise",
        (r"^(stem|conv_stem|stages|s1)[._]",),
        _IMAGE_RULES,
    ),
    KeyMap(
        "timm transformer",
        "framewise",
        (r"^patch_embed\.", r"^(blocks|layers|stages)\."),
        _IMAGE_RULES,
        known_as=("a vision transformer", "a Swin transformer"),
    ),
)
