"""The attentive probe instead of averaging: what it sees, and that it is stored and built again."""

import subprocess
import sys

import pytest
import torch

from gta.checkpoint import read_checkpoint
from gta.config import ClipConfig, config_to_json
from gta.models.flops import count_flops
from gta.models.pretrained import save_weights
from gta.models.registry import create_model
from gta.models.restore import build_stored_model


@pytest.mark.parametrize(("name", "head", "sees"), [
    ("tiny", "average", False),
    ("tiny", "attentive", False),
    ("tiny", "step", True),
    ("tiny_gta", "attentive", True),
    ("mobilenetv3_small_050", "step", True),
])  # fmt: skip
def test_a_set_of_frames_has_an_order_only_with_the_encoding_of_time(name: str, head: str, sees: bool) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, num_frames=4, head=head, zero_init=False).eval()
    clip = torch.randn(2, 3, 4, 64, 64)
    with torch.no_grad():
        moved = (model(clip) - model(clip[:, :, [2, 0, 3, 1]])).abs().max() / model(clip).abs().max()
    assert (moved > 1e-4) == sees


def test_it_is_attention_of_a_learned_query_over_all_tokens() -> None:
    torch.manual_seed(0)
    model = create_model("tiny_c2d", num_classes=3, num_frames=4, head="attentive", dropout=0.0).double().eval()
    features = torch.randn(2, int(model.backbone.num_features), 4, 2, 3, dtype=torch.float64)
    head = model.head
    pool = head.pool
    tokens = torch.nn.functional.layer_norm(features.flatten(2).transpose(1, 2), features.shape[1:2])
    query = pool.q(pool.latent)[0, 0].unflatten(0, (pool.num_heads, -1))
    keys, values = (part.unflatten(2, (pool.num_heads, -1)) for part in pool.kv(tokens).chunk(2, dim=2))
    out = []
    for clip in range(2):
        parts = []
        for number in range(pool.num_heads):
            weights = (keys[clip, :, number] @ query[number] / pool.head_dim**0.5).softmax(dim=0)
            parts.append(weights @ values[clip, :, number])
        out.append(torch.cat(parts))
    pooled = pool.proj(torch.stack(out))
    pooled = pooled + pool.mlp(pool.norm(pooled))
    torch.testing.assert_close(model.forward_head(features), head.linear(pooled))


def test_it_is_built_again_from_a_file_and_another_head_starts_from_it(tmp_path) -> None:
    torch.manual_seed(0)
    model = create_model("tiny_tape", num_classes=3, num_frames=4, head="step").eval()
    path = tmp_path / "step.safetensors"
    save_weights(model, path, extra={"classes": ["a", "b", "c"], "clip": config_to_json(ClipConfig(num_frames=4))})
    again = build_stored_model(read_checkpoint(path))
    clip = torch.randn(1, 3, 4, 32, 32)
    assert torch.equal(again(clip), model(clip))
    other = create_model("tiny_tape", num_classes=3, num_frames=4, pretrained=str(path))
    stem = "backbone.network.conv1.0.weight"
    assert torch.equal(other.state_dict()[stem], model.state_dict()[stem])
    assert any(name.startswith("head.") for name in other.loaded.missing)


def test_the_frozen_network_trains_it() -> None:
    model = create_model("tiny", num_classes=3, num_frames=4, head="attentive")
    model.freeze_backbone()
    assert all(value.requires_grad == key.startswith("head.") for key, value in model.named_parameters())
    model(torch.randn(2, 3, 4, 32, 32)).sum().backward()
    assert all(value.grad is not None for key, value in model.named_parameters() if key.startswith("head."))
    assert count_flops(model, (3, 4, 32, 32)) > 0


_UNKNOWN = """
import gta

for name, options in (("tiny", {"head": "linear"}), ("tiny_c2d", {"head_average": "mean"})):
    try:
        gta.create_model(name, num_classes=3, num_frames=4, **options)
    except ValueError as error:
        print(error)
"""


def test_unknown_words_are_refused_with_the_choices() -> None:
    # In a process of its own, since the tests' run-time type checker would refuse them first.
    done = subprocess.run([sys.executable, "-c", _UNKNOWN], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "head is 'linear': choose from average, attentive, step, relation",
        "head_average is 'mean': choose from probabilities, logits",
    ]


def test_windows_go_with_averaging_only() -> None:
    with pytest.raises(ValueError, match="head_window is 7"):
        create_model("tiny_c2d", num_classes=3, num_frames=4, head="attentive", head_window=7)
