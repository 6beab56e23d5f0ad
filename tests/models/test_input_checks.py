"""What a model is given by mistake is named, with the way out."""

import numpy as np
import pytest
import torch

import gta
from gta.config import ClipConfig


def test_prepared_frames_are_what_the_model_reads():
    frames = torch.randint(0, 256, (4, 3, 32, 40), dtype=torch.uint8)
    clip = ClipConfig(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    prepared = gta.prepare(frames, clip)
    values = frames.numpy().astype(np.float64) / 255
    expected = (values - np.array(clip.mean)[None, :, None, None]) / np.array(clip.std)[None, :, None, None]
    np.testing.assert_allclose(prepared[0].numpy(), expected.transpose(1, 0, 2, 3), atol=1e-6)
    batch = torch.stack([frames.transpose(0, 1)] * 2)
    torch.testing.assert_close(gta.prepare(batch, clip)[1], prepared[0])
    model = gta.create_model("tiny", num_classes=3, num_frames=4).eval()
    assert model(gta.prepare(frames)).shape == (1, 3)


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (torch.zeros(1, 3, 4, 32, 32, dtype=torch.uint8), r"not torch\.uint8: gta\.prepare\(clip\)"),
        (torch.zeros(1, 3, 4, 32, 32, dtype=torch.int64), r"not torch\.int64: gta\.prepare"),
        (torch.zeros(1, 4, 3, 32, 32), r"frames before channels: clip\.transpose\(1, 2\)"),
        (torch.zeros(3, 4, 32, 32), r"must have the shape \(B, 3, T, H, W\), not \(3, 4, 32, 32\)"),
        (torch.zeros(1, 3, 5, 32, 32), "the clip has 5 frames, but the model was built for 4"),
    ],
)
def test_wrong_clips_are_named(clip, words):
    with pytest.raises(ValueError, match=words):
        gta.create_model("tiny", num_classes=3, num_frames=4)(clip)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(4, 3, 8, 8), "these are torch.float32"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.uint8), r"these have \(4, 8, 8, 3\)"),
        (torch.zeros(1, 4, 3, 8, 8, dtype=torch.uint8), r"these have \(1, 4, 3, 8, 8\)"),
    ],
)
def test_frames_that_cannot_be_prepared_are_named(frames, words):
    with pytest.raises(ValueError, match=words):
        gta.prepare(frames)
