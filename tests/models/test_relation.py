"""TRN's head: what it computes, which frames it reads, what it costs."""

import json

import pytest
import torch

from gta.models.flops import count_flops
from gta.models.registry import create_model
from gta.models.relation import RelationHead, spread_tuples

CLIP = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))


def test_it_is_the_sum_over_scales_and_tuples() -> None:
    torch.manual_seed(0)
    head = RelationHead(12, 5, most_frames=3, dropout=0.0).double().eval()
    features = torch.randn(2, 12, 4, 3, 2, dtype=torch.float64)
    frames = [head.reduce(features[:, :, t].mean(dim=(2, 3))) for t in range(4)]
    want = torch.zeros(2, 5, dtype=torch.float64)
    for size, tuples in ((2, [(0, 2), (1, 3), (1, 3)]), (3, [(0, 1, 2), (0, 2, 3), (1, 2, 3)])):
        _, first, _, second = head.relations[str(size)]
        for chosen in tuples:
            joined = torch.cat([torch.relu(frames[t]) for t in chosen], dim=1)
            want = want + second(torch.relu(first(joined)))
    torch.testing.assert_close(head(features), want)


@pytest.mark.parametrize(("frames", "size"), [(8, 2), (8, 3), (8, 7), (8, 8), (16, 5), (3, 2)])
def test_tuples_are_ordered_and_reach_over_the_clip(frames: int, size: int) -> None:
    tuples = spread_tuples(frames, size)
    assert tuples.shape == (1 if frames == size else 3, size)
    assert (tuples.diff(dim=1) > 0).all()
    assert tuples.min() >= 0
    assert tuples.max() < frames
    assert (tuples[:, -1] - tuples[:, 0] >= frames * (size - 1) // size - 1).all()


def test_training_draws_ordered_tuples_and_evaluation_does_not() -> None:
    head = RelationHead(4, 2, most_frames=8, dropout=0.0)
    drawn = torch.cat([head._tuples(8, 3) for _ in range(50)])
    assert (drawn.diff(dim=1) > 0).all()
    assert len({tuple(line) for line in drawn.tolist()}) > 30
    assert torch.equal(head._tuples(8, 8), torch.arange(8)[None])
    head.eval()
    assert torch.equal(head._tuples(8, 3), head._tuples(8, 3))


def test_it_sees_the_order_of_frames_where_averaging_is_blind() -> None:
    torch.manual_seed(0)
    related = create_model("tiny_trn", num_classes=3, dropout=0.0).eval()
    assert "head.relations.8.1.weight" in related.state_dict()
    with torch.no_grad():
        want = related(CLIP)
        assert (related(CLIP.flip(2)) - want).norm() > 1e-4 * want.norm()
        exported = torch.export.export(related, (CLIP,)).module()
        torch.testing.assert_close(exported(CLIP), want, rtol=1e-4, atol=1e-5)


def test_another_number_of_frames_reads_what_fits() -> None:
    model = create_model("tiny_trn_gta", num_classes=3).eval()
    assert model.arguments["relation_frames"] == 8
    for frames in (12, 4):
        model.set_num_frames(frames)
        clip = torch.randn(1, 3, frames, 32, 32)
        again = create_model(**json.loads(json.dumps(model.arguments))).eval()
        again.load_state_dict(model.state_dict())
        with torch.no_grad():
            assert torch.equal(again(clip), model(clip))
    assert create_model("tiny_trn", num_frames=4).arguments["relation_frames"] == 4
    assert create_model("tiny", num_frames=16, head="relation", relation_frames=3).arguments["relation_frames"] == 3


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="relation_frames is 4, an option of the head 'relation', not of 'average'"):
        create_model("tiny", relation_frames=4)
    with pytest.raises(ValueError, match="relation_frames is 1: a relation needs 2 frames"):
        create_model("tiny_trn", num_frames=1)
    model = create_model("tiny_trn", num_classes=3).eval()
    model.set_num_frames(1)
    with pytest.raises(ValueError, match="needs 2 frames or more at the end of the network, which has 1"):
        model(CLIP[:, :, :1])


def test_cost_is_what_a_count_by_hand_gives() -> None:
    """2,048 -> 256 for each of 8 frames; relations of 2 to 8 frames, three tuples each but for the last."""
    with torch.device("meta"):
        head = RelationHead(2048, 174, most_frames=8, dropout=0.0)
    work = 8 * 2048 * 256 + sum((3 if n < 8 else 1) * (n * 256 * 256 + 256 * 174) for n in range(2, 9))
    weights = 2049 * 256 + sum((n * 256 + 1) * 256 + 257 * 174 for n in range(2, 9))
    assert count_flops(head, (1, 2048, 8, 7, 7)) == work
    assert sum(parameter.numel() for parameter in head.parameters()) == weights
