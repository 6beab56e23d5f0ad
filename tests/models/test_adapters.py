"""ST-Adapter and AIM's temporal adaptation, against plain restatements, inside image transformers."""

import copy

import pytest
import timm
import torch
import torchvision
from models_support import randomise
from torch import nn
from transformer_families import FAMILIES, FRAMES, frames_of

import gta
from gta.blocks import create_block
from gta.blocks.adapters import TemporalReuse

REUSING = ["vit", "clip", "siglip", "dinov2_reg", "dinov3", "eva02", "rope_mixed", "deit_distilled"]


def small_vit():
    return timm.create_model(
        "vit_base_patch16_clip_224", num_classes=0, depth=2, embed_dim=32, num_heads=2, img_size=64
    ).eval()


def test_st_adapter_is_its_loops():
    torch.manual_seed(0)
    block = create_block("st_adapter", channels=6, inner_channels=4, zero_init=False).double()
    features = torch.randn(2, 6, 3, 4, 5, dtype=torch.float64)
    tokens = features.permute(0, 2, 3, 4, 1)
    inner = tokens @ block.reduce.weight.T + block.reduce.bias
    clips, frames, height, width, channels = inner.shape
    want = torch.zeros_like(inner)
    for t in range(frames):
        for y in range(height):
            for x in range(width):
                total = block.conv.bias.expand(clips, channels).clone()
                for dt in (-1, 0, 1):
                    for dy in (-1, 0, 1):
                        for dx in (-1, 0, 1):
                            if 0 <= t + dt < frames and 0 <= y + dy < height and 0 <= x + dx < width:
                                weight = block.conv.weight[:, 0, dt + 1, dy + 1, dx + 1]
                                total = total + weight * inner[:, t + dt, y + dy, x + dx]
                want[:, t, y, x] = total
    out = tokens + want @ block.expand.weight.T + block.expand.bias
    assert torch.allclose(block(features), out.permute(0, 4, 1, 2, 3), atol=1e-12)


def test_aim_is_the_hosts_own_attention_over_time():
    torch.manual_seed(0)
    host = small_vit().double().blocks[0]
    block = TemporalReuse(host, 32, 3, zero_init=False).double()
    with torch.no_grad():
        block.encoding.normal_()
    features = torch.randn(2, 32, 3, 2, 2, dtype=torch.float64)
    want = features.clone()
    heads, width = 2, 16
    for clip in range(2):
        for y in range(2):
            for x in range(2):
                rows = host.norm1(features[clip, :, :, y, x].T + block.encoding)
                query, key, value = (rows @ host.attn.qkv.weight.T + host.attn.qkv.bias).chunk(3, dim=1)
                mixed = []
                for head in range(heads):
                    part = slice(head * width, (head + 1) * width)
                    shares = (query[:, part] @ key[:, part].T / width**0.5).softmax(dim=1)
                    mixed.append(shares @ value[:, part])
                inner = torch.cat(mixed, dim=1) @ host.attn.proj.weight.T + host.attn.proj.bias
                inner = nn.functional.gelu(inner @ block.reduce.weight.T + block.reduce.bias)
                want[clip, :, :, y, x] += (inner @ block.expand.weight.T + block.expand.bias).T
    assert torch.allclose(block(features), want, atol=1e-12)


@pytest.mark.parametrize("block", ["st_adapter", "aim"])
@pytest.mark.parametrize("name", REUSING)
def test_a_fresh_adapter_changes_nothing_and_a_trained_one_sees_the_order(name, block):
    family = FAMILIES[name]
    torch.manual_seed(0)
    network, frames = family.build().eval(), frames_of(family, 1)
    with torch.no_grad():
        want = network(frames)
        gta.insert_attention(network, block=block, at=family.at, num_frames=FRAMES)
        assert torch.equal(network(frames), want)
        for parameter in network.parameters():
            parameter.normal_(std=0.2)
        randomise(network)
        straight, shuffled = (network(f).mean(dim=0) for f in (frames, frames[[2, 0, 3, 1]]))
    assert not torch.allclose(straight, shuffled, atol=1e-4)


def test_the_hosts_weights_are_stored_once_copied_and_frozen():
    model = gta.create_model(
        "vit_tiny_patch16_224_aim", num_classes=3, num_frames=4, image_size=64, at={"blocks": [3]}, dropout=0.0
    )
    plain = gta.create_model("vit_tiny_patch16_224", num_classes=3, num_frames=4, image_size=64)
    added = set(model.state_dict()) - {key.replace("blocks.3.", "blocks.3.host.") for key in plain.state_dict()}
    added -= set(plain.state_dict())
    parts = ("encoding", "reduce.weight", "reduce.bias", "expand.weight", "expand.bias")
    assert added == {f"backbone.network.blocks.3.attention.{part}" for part in parts}
    twin = copy.deepcopy(model)
    attended = twin.backbone.network.blocks[3]
    assert attended.attention._host[0] is attended.host
    assert attended.host is not model.backbone.network.blocks[3].host
    model.freeze_backbone()
    clip = torch.randn(2, 3, 4, 64, 64)
    with torch.no_grad():
        attention = model.backbone.network.blocks[3].attention
        attention.expand.weight.normal_()
    nn.functional.cross_entropy(model.train()(clip), torch.tensor([0, 1])).backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {*added, "head.weight", "head.bias"}
    assert model.set_num_frames(8) == ["backbone.network.blocks.3.attention.encoding"]
    assert model.eval()(torch.randn(1, 3, 8, 64, 64)).shape == (1, 3)


def test_where_there_is_no_attention_to_use_it_is_said():
    with pytest.raises(ValueError, match="BasicBlock has no attention"):
        gta.insert_attention(torchvision.models.resnet18(), block="aim", at={"res4": 1})
    swin = FAMILIES["swin"]
    with pytest.raises(ValueError, match="SwinTransformerBlock has no attention"):
        gta.insert_attention(swin.build(), block="aim", at=swin.at, num_frames=FRAMES)
    with pytest.raises(ValueError, match="puts it there"):
        create_block("aim", channels=8)
    assert not [name for name in gta.list_models() if name.endswith("_aim")]


def test_options_that_a_block_or_network_would_ignore_are_refused():
    for block in ("aim", "st_adapter"):
        with pytest.raises(ValueError, match=f"toeplitz is True, .* '{block}' has none"):
            gta.create_model(f"vit_tiny_patch16_224_{block}", num_frames=4, image_size=64, toeplitz=True)
        with pytest.raises(ValueError, match=f"instantiation is 'dot_product', .* '{block}' has no such option"):
            gta.insert_attention(small_vit(), block=block, at={"blocks": 1}, num_frames=4, instantiation="dot_product")
    with pytest.raises(ValueError, match="prefix is 'mix', an option of transformers"):
        gta.create_model("tiny_gta", num_frames=4, prefix="mix")


def test_adapters_export_with_their_network():
    network = gta.insert_attention(small_vit(), block="aim", at={"blocks": "all"}, num_frames=FRAMES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.2)
        frames = torch.randn(2 * FRAMES, 3, 64, 64)
        program = torch.export.export(network, (frames,))
        assert torch.allclose(program.module()(frames), network(frames), atol=1e-4)
