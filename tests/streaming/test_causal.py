"""Exact streaming: one frame at a time gives what evaluating the clip gives, and the step can be exported."""

import pytest
import torch
from streams import lively

import gta
from gta.backbones.tsm import ShiftedConv
from gta.ops.shift import temporal_shift
from gta.streaming.causal import CausalStep

FRAMES = 4
CAUSAL = {
    "tiny_tsm": {"causal": True},
    "tiny_gta": {"causal": True, "toeplitz": True},
    "tiny_tsm_gta": {"causal": True, "toeplitz": True},
    "tiny_region_gta": {"causal": True, "toeplitz": True, "num_heads": 2},
    "tiny_tsm_pixel_gta": {"causal": True, "toeplitz": True, "share_mixing": True},
    "tiny": {},
}


def build(name: str, num_frames: int = FRAMES, **arguments):
    torch.manual_seed(0)
    return lively(gta.create_model(name, num_classes=7, num_frames=num_frames, **arguments))


def test_a_uni_directional_shift_is_the_previous_frames_channels() -> None:
    frames = torch.randn(6, 16, 2, 3)  # two clips of three frames
    found = temporal_shift(frames, 3, 8, causal=True)
    expected = frames.clone()
    for clip in (0, 3):
        expected[clip, :2] = 0
        for frame in (1, 2):
            expected[clip + frame, :2] = frames[clip + frame - 1, :2]
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", CAUSAL)
def test_steps_equal_the_evaluation_of_the_clip(name: str) -> None:
    model = build(name, **CAUSAL[name])
    step = CausalStep(model)
    clip = torch.randn(2, 3, 2 * FRAMES, 32, 32)
    with torch.inference_mode():
        state = step.initial_state(clip[:, :, 0])
        found = []
        for frame in clip.unbind(2):
            logits, state = step(frame, state)
            found.append(logits)
        expected = model(clip[:, :, :FRAMES])
        torch.testing.assert_close(found[FRAMES - 1], expected, atol=1e-5, rtol=1e-5)
        # Later: features that have the whole past, averaged over the last T frames.
        longer = build(name, num_frames=2 * FRAMES, **CAUSAL[name])
        weights = {key: value for key, value in model.state_dict().items() if not key.endswith("mixing")}
        longer.load_state_dict(weights, strict=False)
        for key, value in model.named_parameters():
            if key.endswith("mixing"):
                lags = torch.nn.functional.pad(value, (FRAMES, FRAMES))
                longer.get_parameter(key).copy_(lags)
        features = longer.forward_features(clip)
        last = features[:, :, FRAMES:]
        torch.testing.assert_close(found[-1], model.forward_head(last), atol=1e-5, rtol=1e-5)
        # Before: the average over as many frames as there have been.
        first = features[:, :, :1].expand(-1, -1, FRAMES, -1, -1)
        torch.testing.assert_close(found[0], model.forward_head(first), atol=1e-5, rtol=1e-5)


def test_no_frame_hears_a_later_one() -> None:
    model = build("tiny_tsm_gta", causal=True, toeplitz=True)
    assert all(module.causal for module in model.modules() if isinstance(module, ShiftedConv))
    clip = torch.randn(1, 3, FRAMES, 32, 32)
    changed = clip.clone()
    changed[:, :, 2:] = torch.randn(1, 3, FRAMES - 2, 32, 32)
    with torch.inference_mode():
        one, other = model.forward_features(clip), model.forward_features(changed)
    torch.testing.assert_close(one[:, :, :2], other[:, :, :2], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(one[:, :, 2:], other[:, :, 2:])


def test_the_step_leaves_the_model_alone_and_shares_its_weights() -> None:
    model = build("tiny_tsm_gta", causal=True, toeplitz=True)
    names = [name for name, _ in model.named_modules()]
    step = CausalStep(model)
    assert [name for name, _ in model.named_modules()] == names
    assert {id(value) for value in step.parameters()} == {id(value) for value in model.parameters()}


@pytest.mark.parametrize("name", ["tiny_tsm", "tiny_gta"])
def test_the_step_can_be_exported_with_its_state(name: str) -> None:
    model = build(name, **CAUSAL[name])
    step = CausalStep(model)
    clip = torch.randn(1, 3, FRAMES, 32, 32)
    state = step.initial_state(clip[:, :, 0])
    program = torch.export.export(step, (clip[:, :, 0], state)).module()
    with torch.no_grad():
        for frame in clip.unbind(2):
            logits, state = program(frame, state)
        torch.testing.assert_close(logits, model(clip), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["tiny_tsm", "tiny_gta"])
def test_onnx_runtime_runs_the_step_with_its_state(tmp_path, name: str) -> None:
    for library in ("onnx", "onnxscript"):
        pytest.importorskip(library, reason="the extra export is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    model = build(name, **CAUSAL[name])
    step = CausalStep(model).eval()
    clip = torch.randn(1, 3, FRAMES, 32, 32)
    state = step.initial_state(clip[:, :, 0])
    path = tmp_path / "step.onnx"
    torch.onnx.export(step, (clip[:, :, 0], state), path, dynamo=True, opset_version=20, verbose=False)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    assert len(names) == 1 + len(state) == len(session.get_outputs())
    values = [value.numpy() for value in state]
    for frame in clip.unbind(2):
        logits, *values = session.run(None, dict(zip(names, [frame.numpy(), *values], strict=True)))
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), model(clip), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("tiny_tsm", {}, "shifts channels from the next frame: build the model with causal=True"),
        ("tiny_gta", {}, "depends on later frames"),
        ("tiny_gta", {"causal": True}, "position in the clip: build it with toeplitz=True"),
        ("tiny_nl", {}, "depends on all frames"),
        ("tiny_gta", {"causal": True, "toeplitz": True, "gate": True}, "do not stream"),
        ("tiny_c2d", {}, "needs a 2D backbone"),
    ],
)
def test_networks_that_are_not_causal_are_refused(name: str, arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CausalStep(build(name, **arguments))


def test_a_foreign_state_is_refused() -> None:
    step = CausalStep(build("tiny_tsm", causal=True))
    with pytest.raises(ValueError, match="the state has 1 tensors"):
        step(torch.zeros(1, 3, 32, 32), (torch.zeros(1),))


def test_causal_needs_something_temporal() -> None:
    with pytest.raises(ValueError, match="causal is an option"):
        build("tiny", causal=True)
