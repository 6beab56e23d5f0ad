"""`gta.explain` on whole models: every kind of backbone, nothing left changed, numbers against plain references."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from explain_references import array, attention_matrix, randomise

import gta
import gta.explain.records
from gta.blocks.gta import GlobalTemporalAttention
from gta.config import ClipConfig
from gta.explain.class_maps import candidate_layers, choose_layer
from gta.explain.importance import frame_groups
from gta.explain.mixing import influence
from gta.explain.network import Network, guess_layout
from gta.explain.swap import swap_projections, swappable_pairs
from gta.predictor import Predictor

MODELS = ("tiny", "tiny_nl", "tiny_dnl", "tiny_gta", "tiny_tsm_gta", "tiny_c2d_nl", "tiny_slowfast_dnl")


def build(name: str, **options) -> torch.nn.Module:
    return randomise(gta.create_model(name, num_classes=6, **options))


def clip_of(model: torch.nn.Module, size: int = 48) -> torch.Tensor:
    return torch.randn(1, 3, model.num_frames, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_is_explained_and_left_as_it_was(name):
    model = build(name)
    model.dropout.train()  # a single module in training mode stays so
    clip = clip_of(model)
    given, before = clip.clone(), {key: value.clone() for key, value in model.state_dict().items()}
    model.dropout.eval()
    logits = model(clip)
    model.dropout.train()
    record = gta.explain(model, clip, query=(2, 20, 30), swap=True, table_side=3)
    assert model.dropout.training
    assert not model.backbone.training
    assert all(value.grad is None and value.requires_grad for value in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(clip, given)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    model.dropout.eval()
    assert torch.equal(model(clip), logits)
    np.testing.assert_allclose(record.forward, array(logits.softmax(1))[0], atol=1e-6)
    np.testing.assert_allclose(record.backward, array(model(clip.flip(2)).softmax(1))[0], atol=1e-6)
    assert record.class_index == int(logits.argmax())
    kinds = {"nl": ["nl"], "dnl": ["sa", "ta"], "gta": ["sa", "gta"]}.get(name.rpartition("_")[2], [])
    assert [block.kind for block in record.blocks] == kinds * 2
    for block in record.blocks:
        for maps in (block.attention, block.swapped):
            if maps is not None:
                assert maps.weights.sum() == pytest.approx(1, abs=1e-5)
                axes = tuple(range(3, maps.table.ndim))
                np.testing.assert_allclose(maps.table.sum(axis=axes), 1, atol=1e-5)
        if block.kind == "gta":
            np.testing.assert_allclose(block.regions.sum(axis=1), 1, atol=1e-5)
            assert block.regions.shape[0] == block.grid[0] == len(block.mixing.influence)
    assert (record.swapped is not None) == name.endswith("dnl")


@pytest.mark.parametrize("name", ["tiny_nl", "tiny_dnl", "tiny_c2d_nl", "tiny_slowfast_dnl"])
def test_maps_are_those_of_the_inputs_that_the_blocks_get(name):
    model = build(name)
    clip = clip_of(model)
    inputs = {}
    for key, module in model.named_modules():
        if hasattr(module, "qkv"):
            module.register_forward_hook(lambda module, given, out, key=key: inputs.__setitem__(key, given[0].clone()))
    with torch.no_grad():
        model(clip)
    record = gta.explain(model, clip, query=(5, 20, 30), importance=False)
    assert [block.name for block in record.blocks] == list(inputs)
    for block in record.blocks:
        matrix = attention_matrix(model.get_submodule(block.name), inputs[block.name])
        assert block.grid == tuple(inputs[block.name].shape[2:])
        assert block.query == (block.grid_frame(5), 20 * block.grid[1] // 48, 30 * block.grid[2] // 48)
        np.testing.assert_allclose(block.attention.weights, matrix[block.query], atol=1e-5)


def test_slow_features_stand_for_the_slow_pathway_s_frames():
    model = build("tiny_slowfast_dnl")
    record = gta.explain(model, clip_of(model), importance=False)
    assert {block.frame_numbers for block in record.blocks} == {tuple(model.backbone.slow_frames.tolist())}
    pooled = Network(model, "clips", 16)
    assert pooled.frame_numbers(8) == tuple(range(1, 16, 2))
    assert pooled.frame_numbers(16) == tuple(range(16))


@pytest.mark.parametrize(("pixel", "region"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_influence_is_what_leaving_a_frame_s_values_out_changes(pixel, region, norm):
    frames, groups, heads, regions, channels = 3, 2, 4, 3, 4
    block = GlobalTemporalAttention(
        channels, frames, pixel=pixel, region=region, num_groups=groups, num_heads=heads, num_regions=regions, norm=norm
    )
    randomise(block).double()
    features = torch.randn(1, channels, frames, 2, 3, dtype=torch.float64)
    tokens = array(features)[0].reshape(channels, frames, 6).transpose(1, 2, 0)
    weight, bias, mixing = array(block.values.weight), array(block.values.bias), array(block.mixing)
    own = array(block.region_mixing) if block.own_regions else mixing
    read = tokens @ weight.T + bias
    inner, width = block.inner_channels, block.inner_channels // groups
    levels = []
    if pixel:
        levels.append((read[..., :inner], np.tile(np.eye(6), (frames, 1, 1)), mixing))
    if region:
        logits = np.exp(read[..., -regions:])
        assignment = logits / logits.sum(axis=2, keepdims=True)
        value = read[..., inner * pixel : inner * pixel + inner]
        pooled = np.einsum("tsr,tsd->trd", assignment, value) / assignment.sum(axis=1)[..., None]
        levels.append((pooled, assignment, own))

    def branch(missing: int | None) -> torch.Tensor:
        parts = []
        for value, spread, matrices in levels:
            for head in range(heads):
                mixed = np.zeros((frames, value.shape[1], width))
                for t in range(frames):
                    for u in range(frames):
                        for group in range(groups):
                            if u != missing:
                                values = value[u, :, group * width : (group + 1) * width]
                                mixed[t] += matrices[group, head, t, u] * values
                parts.append(spread @ mixed)
        projected = block.output.linear(torch.from_numpy(np.concatenate(parts, axis=2)))
        return block.output.norm(projected.flatten(0, 1)).view(projected.shape)

    with torch.no_grad():
        whole = branch(None)
        size = np.sqrt((tokens**2).mean(axis=(1, 2)))
        changes = [array(whole - branch(u)) for u in range(frames)]
        expected = np.stack([np.sqrt((change**2).mean(axis=(1, 2))) / size for change in changes], axis=1)
        np.testing.assert_allclose(influence(block, features).numpy(), expected, rtol=1e-6)


def test_mixing_says_how_strong_each_matrix_is():
    model = build("tiny_gta")
    block = next(block for block in gta.explain(model, clip_of(model), importance=False).blocks if block.kind == "gta")
    stored = array(model.get_submodule(block.name).mixing)
    np.testing.assert_allclose(block.mixing.matrices, stored, rtol=1e-6)
    np.testing.assert_allclose(
        block.mixing.region_matrices, array(model.get_submodule(block.name).region_mixing), rtol=1e-6
    )
    np.testing.assert_allclose(block.mixing.strength, np.abs(stored).mean(axis=(2, 3)), rtol=1e-6)


def test_swapping_twice_is_the_identity_and_once_runs_the_exchanged_model():
    model = build("tiny_dnl")
    parameters = dict(model.named_parameters())
    pairs = swappable_pairs(model)
    assert len(pairs) == 2
    once = swap_projections(parameters, pairs)
    twice = swap_projections(once, pairs)
    assert all(twice[name] is parameters[name] for name in parameters)
    assert list(twice) == list(parameters)
    changed = [name for name in parameters if once[name] is not parameters[name]]
    assert len(changed) == 8
    assert all(".qkv." in name for name in changed)
    clip = clip_of(model, 64)
    record = gta.explain(model, clip, query=(2, 20, 30), swap=True)
    other = build("tiny_dnl")
    other.load_state_dict({**other.state_dict(), **{name: value.detach() for name, value in once.items()}})
    expected = gta.explain(other, clip, query=(2, 20, 30))
    np.testing.assert_allclose(record.swapped, expected.forward, atol=1e-6)
    for block, reference in zip(record.blocks, expected.blocks, strict=True):
        np.testing.assert_allclose(block.swapped.weights, reference.attention.weights, atol=1e-6)
        assert record.block(block.partner).partner == block.name
        assert not np.allclose(block.swapped.weights, block.attention.weights, atol=1e-4)


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam"])
def test_class_maps_are_gradients_times_features(method):
    model = build("tiny_gta")
    clip = clip_of(model, 64)
    record = gta.explain(model, clip, target=4, num_class_maps=2, importance=False, method=method)
    assert record.class_maps[0].method == method
    assert record.class_maps[0].class_index == 4
    assert len({maps.class_index for maps in record.class_maps}) == 2
    kept = []
    handle = model.get_submodule(record.class_maps[0].layer).register_forward_hook(
        lambda module, given, out: kept.append(out) or out.retain_grad()
    )
    model(clip)[0, 4].backward()
    handle.remove()
    features, slopes = array(kept[0]), array(kept[0].grad)
    weights = slopes.mean(axis=(2, 3), keepdims=True) if method == "grad_cam" else np.maximum(slopes, 0)
    cam = np.maximum((weights * features).sum(axis=1), 0)
    assert record.class_maps[0].maps.max() == pytest.approx(1)
    np.testing.assert_allclose(record.class_maps[0].maps, cam / cam.max(), atol=1e-5)


def layer_of(model: torch.nn.Module, clip: torch.Tensor) -> tuple[str, str]:
    network = Network(model.eval(), guess_layout(model), clip.shape[2])
    chosen, method = choose_layer(network, clip, candidate_layers(network, clip)[0])
    return chosen.name, method


@pytest.mark.parametrize(
    ("name", "size", "layer", "method"),
    [
        ("tiny_gta", 128, "backbone", "grad_cam"),
        ("tiny_gta", 64, "backbone.network.layer3", "layer_cam"),
        ("tiny_c2d_gta", 64, "backbone.pathway.res4", "layer_cam"),
        ("tiny_slowfast", 64, "backbone", "grad_cam"),
    ],
)
def test_the_layer_for_class_maps_is_the_last_that_everything_passes(name, size, layer, method):
    model = build(name)
    assert layer_of(model, clip_of(model, size)) == (layer, method)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "convnext_atto", "efficientnet_b0"])
def test_a_network_of_timm_with_inserted_blocks(name):
    network = timm.create_model(name, num_classes=5)
    gta.insert_attention(network, block="gta", at={"res3": 1, "res4": 1}, num_frames=4, num_groups=4)
    clip = torch.randn(1, 3, 4, 64, 64)
    record = gta.explain(network, clip, importance=False)
    assert [block.kind for block in record.blocks] == ["sa", "gta"] * 2
    assert record.classes == tuple(f"class {index}" for index in range(5))
    assert record.class_maps[0].maps.shape[1:] == (4, 4)
    with torch.no_grad():
        logits = network.eval()(clip[0].transpose(0, 1)).mean(dim=0)
    np.testing.assert_allclose(record.forward, array(logits.softmax(0)), atol=1e-6)
    with pytest.raises(ValueError, match="sees the clip's 8 frames as 2 clips of 4"):
        gta.explain(network, torch.randn(1, 3, 8, 64, 64))


def test_importance_is_the_probability_of_the_changed_clips():
    model = build("tiny_gta")
    clip = clip_of(model)
    found = gta.explain(model, clip, target=3).importance

    def probability(changed: torch.Tensor) -> float:
        with torch.no_grad():
            return float(model(changed).double().softmax(1)[0, 3])

    assert found.intact == pytest.approx(probability(clip), abs=1e-6)
    assert found.backward == pytest.approx(probability(clip.flip(2)), abs=1e-6)
    for frame in range(8):
        neighbour, blank = clip.clone(), clip.clone()
        neighbour[:, :, frame] = clip[:, :, frame - 1 if frame else 1]
        blank[:, :, frame] = 0
        assert found.left_out[frame] == pytest.approx(probability(neighbour), abs=1e-6)
        assert found.blanked[frame] == pytest.approx(probability(blank), abs=1e-6)


@pytest.mark.parametrize("frames", [2, 8, 16, 17, 64, 100])
def test_long_clips_are_changed_a_few_frames_at_a_time(frames):
    groups = frame_groups(frames)
    assert len(groups) == min(frames, 16)
    assert [*groups[:, 0], frames] == [0, *groups[:, 1]]
    assert set(np.diff(groups, axis=1).ravel()) <= {frames // 16, frames // 16 + 1}


def test_a_predictor_reads_the_middle_clip_of_a_video(tmp_path):
    from gta.synthetic import write_clip

    video = write_clip(tmp_path / "clip.mp4", "Opening something", seed=0, index=0)
    config = replace(ClipConfig(), num_frames=8, resize=(48, 60), crop_size=48, test_crop_size=None, test_crops=3)
    predictor = Predictor(build("tiny_gta"), classes=tuple("abcdef"), clip=config)
    record = gta.explain(predictor, video, target="d")
    assert record.source == str(video)
    assert record.frames.shape == (8, 48, 48, 3)
    assert record.class_index == 3
    assert list(record.seconds) == sorted(record.seconds)
    pixels = torch.from_numpy(record.frames).permute(0, 3, 1, 2)
    again = gta.explain(predictor, pixels, target="d")
    np.testing.assert_array_equal(again.frames, record.frames)
    np.testing.assert_allclose(again.forward, record.forward, atol=1e-6)
    normalised = gta.explain(predictor, gta.prepare(pixels, config))
    np.testing.assert_array_equal(normalised.frames, record.frames)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("test_vit_aim", "The model's temporal blocks (TemporalReuse) have no maps of attention or mixing to show."),
        ("test_vit", "The model has no attention blocks."),
    ],
)
def test_blocks_without_maps_are_not_denied(name, says):
    model = build(name, num_frames=4, image_size=64)
    record = gta.explain(model, clip_of(model, 64), importance=False)
    assert record.blocks == ()
    assert says in record.notes


def test_without_a_query_the_point_with_most_evidence_is_asked_about():
    model = build("tiny_nl")
    record = gta.explain(model, clip_of(model, 64), importance=False)
    maps = record.class_maps[0].maps
    frame, row, column = record.query
    assert maps[frame, row * 4 // 64, column * 4 // 64] == 1
    assert all(block.query[0] == frame for block in record.blocks)


def test_under_inference_mode_and_with_frozen_parameters():
    model = build("tiny_dnl").requires_grad_(False)
    with torch.inference_mode():
        record = gta.explain(model, clip_of(model), swap=True)
    assert record.class_maps[0].maps.max() == pytest.approx(1)


def test_what_does_not_fit_is_refused_with_the_numbers():
    model = build("tiny_nl")
    clip = clip_of(model)
    with pytest.raises(ValueError, match="row is 48: the clip has 8 frames of 48 x 48 pixels"):
        gta.explain(model, clip, query=(0, 48, 0))
    with pytest.raises(ValueError, match="'walking' is not one of the model's 6 classes"):
        gta.explain(model, clip, target="walking")
    with pytest.raises(ValueError, match="class 6 is not one of the model's 6"):
        gta.explain(model, clip, target=6)
    with pytest.raises(ValueError, match="2 class names for a model of 6 classes"):
        gta.explain(model, clip, classes=("a", "b"))
    with pytest.raises(ValueError, match="one clip is explained at a time"):
        gta.explain(model, torch.cat([clip, clip]))
    with pytest.raises(ValueError, match="'head' has no spatial features; these modules have: backbone"):
        gta.explain(model, clip, layer="head")
    with pytest.raises(ValueError, match="class scores"):
        gta.explain(model.backbone, clip)
    with pytest.raises(ValueError, match="give a Predictor"):
        gta.explain(model, "clip.mp4")
    with pytest.raises(ValueError, match="table_side is 0"):
        gta.explain(model, clip, table_side=0)


def test_the_function_and_the_package_go_by_one_name():
    assert gta.explain.records.Explanation is gta.explain.Explanation
    assert callable(gta.explain)
    assert gta.explain.explain.__doc__
