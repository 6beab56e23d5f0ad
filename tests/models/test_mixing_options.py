"""How GTA mixes frames: every option against loops in float64, and what it promises."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_support import randomise
from references import global_temporal, weights_of
from test_block_values import assert_close, values_and_gradients
from torch.export import Dim

import gta
from gta.blocks import GlobalTemporalAttention, MixingOptions, create_block
from gta.blocks.fused import fuse
from gta.blocks.mixing_options import MixingArguments
from gta.checkpoint import read_checkpoint
from gta.errors import CheckpointError
from gta.models.pretrained import save_weights
from gta.models.restore import build_stored_model
from gta.ops.mixing import frame_differences, resize_lags, toeplitz_matrices

VARIANTS = {
    "own": {},
    "shared": {"share_mixing": True},
    "toeplitz": {"toeplitz": True},
    "causal": {"causal": True},
    "toeplitz-causal": {"toeplitz": True, "causal": True},
    "dynamic": {"dynamic_rank": 2},
    "gate": {"gate": True},
    "differences": {"differences": True},
    "all": {"toeplitz": True, "causal": True, "dynamic_rank": 1, "gate": True, "differences": True},
}
MADE = ("toeplitz", "causal", "dynamic_rank")


def shuffled(block):
    """All parameters away from their start, the dynamic ones too."""
    randomise(block)
    for name, parameter in block.named_parameters():
        if "dynamic" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return block


@pytest.mark.parametrize("name", ["pixel_gta", "region_gta", "pixel_region"])
@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=2, deadline=None)
@given(
    shape=st.tuples(
        st.integers(1, 2), st.sampled_from([2, 4]), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)
    ),
    seed=st.integers(0, 10_000),
)
def test_every_way_of_mixing_equals_its_loops(name, variant, shape, seed):
    torch.manual_seed(seed)
    options = VARIANTS[variant]
    levels = {"pixel": name != "region_gta", "region": name != "pixel_gta"}
    block = GlobalTemporalAttention(shape[1], shape[2], num_groups=2, num_regions=3, **levels, **options)
    shuffled(block.double().eval())
    x, direction = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    weights = weights_of(block)
    made = {key: value for key, value in options.items() if key in MADE}
    used = {key: value for key, value in options.items() if key in ("gate", "differences")}

    def loops(v):
        return global_temporal(v, weights, **levels, made=made, used=used)

    want = values_and_gradients(loops, x, weights, direction)
    assert_close(values_and_gradients(block, x, weights, direction), want, 1e-10)
    with torch.no_grad():
        assert_close([fuse(block)(x)], want[:1], 1e-10)


@pytest.mark.parametrize("variant", ["own", "toeplitz-causal", "dynamic", "all"])
def test_every_way_of_mixing_is_exported_for_any_number_of_clips(variant):
    torch.manual_seed(1)
    block = shuffled(create_block("gta", channels=16, num_frames=4, num_groups=2, **VARIANTS[variant])).eval()
    with torch.no_grad():
        batch = ({0: Dim("batch", min=1, max=64)},)
        exported = torch.export.export(block, (torch.randn(2, 16, 4, 3, 3),), dynamic_shapes=batch).module()
        for clips in (1, 2, 5):
            x = torch.randn(clips, 16, 4, 3, 3)
            assert torch.allclose(exported(x), block(x), atol=1e-5, rtol=1e-5), clips


@pytest.mark.parametrize("variant", ["own", "shared"])
def test_levels_share_only_if_asked(variant):
    block = shuffled(create_block("gta", channels=16, num_frames=4, num_groups=2, **VARIANTS[variant])).gta
    assert torch.equal(block.matrices("pixel"), block.matrices("region")) == (variant == "shared")
    assert hasattr(block, "region_mixing")
    assert (block.region_mixing is None) == (variant == "shared")
    assert block.no_weight_decay() == ({"mixing", "region_mixing"} if variant == "own" else {"mixing"})


@pytest.mark.parametrize("variant", ["causal", "toeplitz-causal", "all"])
@pytest.mark.parametrize("name", ["pixel_gta", "region_gta", "gta"])
def test_causal_blocks_do_not_hear_the_future(name, variant):
    torch.manual_seed(2)
    block = shuffled(create_block(name, channels=8, num_frames=5, num_groups=2, **VARIANTS[variant]).double()).eval()
    x = torch.randn(1, 8, 5, 2, 2, dtype=torch.float64)
    changed = x.clone()
    changed[:, :, 3:] = torch.randn_like(changed[:, :, 3:])
    with torch.no_grad():
        for either in (block, fuse(block)):
            before, after = either(x), either(changed)
            assert torch.allclose(before[:, :, :3], after[:, :, :3], atol=1e-12)
            assert not torch.allclose(before[:, :, 3:], after[:, :, 3:])
        free = shuffled(create_block(name, channels=8, num_frames=5, num_groups=2).double()).eval()
        assert not torch.allclose(free(x)[:, :, :3], free(changed)[:, :, :3])


def test_toeplitz_takes_clips_of_any_length_and_keeps_its_numbers():
    torch.manual_seed(3)
    block = shuffled(create_block("pixel_gta", channels=8, num_frames=4, num_groups=2, toeplitz=True, causal=True))
    block.double().eval()
    clip = torch.randn(1, 8, 9, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        whole = block(clip)
        assert torch.allclose(fuse(block)(clip), whole, atol=1e-12)
        for start in range(6):  # a window says the same about its last frame: lags beyond 3 count as 0
            window = block(clip[:, :, start : start + 4])
            assert torch.allclose(window[:, :, -1], whole[:, :, start + 3], atol=1e-12)
        lags = block.mixing.detach().clone()
        assert block.resize(9) == ["mixing"]
        assert torch.allclose(block(clip), whole, atol=1e-12)
        assert torch.equal(block.mixing[..., 5:12], lags)
        block.resize(4)
        assert torch.equal(block.mixing, lags)


@given(old=st.integers(1, 6), new=st.integers(1, 8), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_toeplitz_matrices_are_constant_along_diagonals(old, new, seed):
    lags = torch.randn(2, 3, 2 * old - 1, generator=torch.Generator().manual_seed(seed))
    dense = toeplitz_matrices(lags, new)
    for t in range(new):
        for u in range(new):
            want = lags[..., old - 1 + t - u] if abs(t - u) < old else torch.zeros(2, 3)
            assert torch.equal(dense[..., t, u], want)
    assert torch.equal(toeplitz_matrices(resize_lags(lags, max(old, new)), new), dense)


def test_differences_are_of_the_second_half_of_the_groups():
    value = torch.tensor([[[[1.0, 2.0, 3.0]], [[5.0, 7.0, 11.0]]]])  # one position, three groups of one channel
    assert frame_differences(value, 3).tolist() == [[[[1.0, 0.0, 0.0]], [[5.0, 5.0, 8.0]]]]


def test_the_start_is_the_paper_s_unless_the_identity_is_asked_for():
    torch.manual_seed(4)
    normal = create_block("gta", channels=64, num_frames=8).gta
    torch.manual_seed(4)
    identity = create_block("gta", channels=64, num_frames=8, mixing_init="identity").gta
    eye = torch.einsum("gk,tu->gktu", torch.eye(8), torch.eye(8))
    for level in ("pixel", "region"):
        assert torch.equal(identity.matrices(level), normal.matrices(level) + eye)
    torch.manual_seed(4)
    lags = create_block("pixel_gta", channels=64, num_frames=8, toeplitz=True, mixing_init="identity")
    torch.manual_seed(4)
    plain = create_block("pixel_gta", channels=64, num_frames=8, toeplitz=True)
    assert torch.allclose(lags.matrices("pixel"), plain.matrices("pixel") + eye)
    assert plain.mixing.std().item() == pytest.approx(64**-0.5, rel=0.1)


def test_a_dynamic_residual_starts_at_nothing():
    torch.manual_seed(5)
    block = create_block("pixel_gta", channels=16, num_frames=4, zero_init=False, dynamic_rank=2).eval()
    x = torch.randn(2, 16, 4, 3, 3)
    tokens = x.flatten(3).permute(0, 2, 3, 1)
    assert torch.equal(block.mix("pixel", tokens, tokens), gta.ops.mix_frames(tokens, block.matrices("pixel")))
    block(x).square().sum().backward()
    assert block.dynamic_left.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: create_block("gta", channels=16, num_heads=4, gate=True), "4 and 8"),
        (lambda: create_block("gta", channels=15, num_groups=3, differences=True), "there are 3"),
        (lambda: create_block("gta", channels=16, dynamic_rank=-1), "dynamic_rank is -1"),
        (lambda: create_block("nl", channels=16, toeplitz=True), "'nl' has none"),
        (lambda: gta.create_model("tiny", toeplitz=True), "name tiny_gta"),
    ],
)
def test_what_does_not_fit_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_model_is_built_again_from_its_arguments(tmp_path):
    for variant in ("own", "shared", "all"):
        model = randomise(gta.create_model("tiny_gta", num_classes=3, num_frames=4, **VARIANTS[variant])).eval()
        assert {key: model.arguments[key] for key in MixingArguments.__annotations__} == vars(
            MixingOptions(**VARIANTS[variant])
        )
        path = tmp_path / f"{variant}.safetensors"
        save_weights(model, path)
        again = build_stored_model(read_checkpoint(path))
        x = torch.randn(1, 3, 4, 32, 32)
        with torch.no_grad():
            assert torch.equal(again(x), model(x))


@pytest.fixture
def before(tmp_path, monkeypatch):
    """A shared model in a file that says nothing about its mixing, as they were."""
    model = randomise(gta.create_model("tiny_gta", num_classes=3, num_frames=4, share_mixing=True)).eval()
    model.arguments = {key: v for key, v in model.arguments.items() if key not in MixingArguments.__annotations__}
    path = tmp_path / "before.safetensors"
    save_weights(model, path)
    return model, path


def test_a_file_from_before_is_shared_and_says_so(before):
    model, path = before
    with pytest.warns(UserWarning, match="shared one M") as told:
        again = build_stored_model(read_checkpoint(path))
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    assert again.arguments["share_mixing"] is True
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


def test_both_levels_start_from_an_m_that_the_file_shares(before):
    model, path = before
    assert gta.create_model(pretrained=str(path)).arguments["share_mixing"] is True
    assert gta.create_model(pretrained=str(path), share_mixing=False).arguments["share_mixing"] is False
    two = gta.create_model("tiny_gta", num_classes=3, num_frames=4, pretrained=str(path)).eval()
    assert "each starts from it" in two.loaded.summary()
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(two(x), model(x))
    save_weights(two, path)
    with pytest.raises(CheckpointError, match="without share_mixing"):
        gta.create_model("tiny_gta", num_classes=3, num_frames=4, share_mixing=True, pretrained=str(path))
    longer = gta.create_model("tiny_gta", num_classes=3, num_frames=6, pretrained=str(path))
    assert len(longer.loaded.resized) == 4


def test_lags_are_taken_over_for_another_number_of_frames(tmp_path):
    model = randomise(gta.create_model("tiny_gta", num_classes=3, num_frames=4, toeplitz=True)).eval()
    save_weights(model, tmp_path / "four.safetensors")
    longer = gta.create_model(
        "tiny_gta", num_classes=3, num_frames=6, toeplitz=True, pretrained=str(tmp_path / "four.safetensors")
    ).eval()
    assert all("lags of 4 -> 6 frames" in line for line in longer.loaded.resized)
    model.set_num_frames(6)
    x = torch.randn(1, 3, 6, 32, 32)
    with torch.no_grad():
        assert torch.equal(longer(x), model(x))


def test_a_run_from_before_resumes_shared(tmp_path):
    from gta.config import RunConfig, TrainConfig
    from gta.runs.composition import _as_it_was_built

    config = TrainConfig(run=RunConfig(folder=tmp_path))
    assert not _as_it_was_built(config).model.share_mixing
    (tmp_path / "config.json").write_text(json.dumps({"model": {"name": "tiny_gta"}}))
    assert _as_it_was_built(config).model.share_mixing
    (tmp_path / "config.json").write_text(json.dumps({"model": {"name": "tiny_gta", "share_mixing": False}}))
    assert not _as_it_was_built(config).model.share_mixing
