import engine_fakes as fakes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_accuracy

from gta.errors import DataError, GtaError
from gta.evaluation.metrics import direction_accuracy, per_class_accuracy, reversal_indices, top_k_accuracy
from gta.evaluation.scores import Scores, evaluate, measure, video_scores

CLASSES = ("left", "right", "still")
REVERSALS = {"left": "right", "right": "left"}


def scores_of(rows: list[list[float]], labels: list[int], index: list[int] | None = None) -> Scores:
    return Scores(
        index=np.array(index if index is not None else range(len(labels)), dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        scores=np.array(rows, dtype=np.float32),
        skipped=(),
    )


def test_measures_by_hand() -> None:
    result = measure(
        scores_of([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.3, 0.5], [0.1, 0.2, 0.7]], [0, 1, 1, 2]),
        classes=CLASSES,
        reversals=REVERSALS,
    )
    assert result.top1 == 0.5
    assert result.top5 == 1.0
    assert result.per_class == [1.0, 0.0, 1.0]
    assert result.mean_class_accuracy == pytest.approx(2 / 3)
    assert result.confusion.tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 1]]
    assert result.direction_accuracy == pytest.approx(2 / 3)  # the third video is wrong, but its direction is right
    assert result.loss == pytest.approx(-np.log([0.6, 0.4, 0.3, 0.7]).mean())


def test_json_has_names_and_null_for_classes_without_videos() -> None:
    plain = measure(scores_of([[0.6, 0.3, 0.1]], [0]), classes=CLASSES).to_json()
    assert plain["per_class"]["left"] == {"accuracy": 1.0, "num_videos": 1}
    assert plain["per_class"]["still"] == {"accuracy": None, "num_videos": 0}
    assert plain["direction_accuracy"] is None
    assert plain["confusion"]["classes"] == list(CLASSES)


def test_a_tie_between_a_class_and_its_reversal_counts_half() -> None:
    scores = np.array([[0.4, 0.4, 0.2], [0.2, 0.1, 0.7]], dtype=np.float32)
    labels = np.array([0, 2])
    assert direction_accuracy(scores, labels, reversal_indices(CLASSES, REVERSALS)) == 0.5
    assert direction_accuracy(scores, np.array([2, 2]), reversal_indices(CLASSES, REVERSALS)) is None


def test_reversals_of_other_data_sets_are_ignored() -> None:
    assert reversal_indices(CLASSES, {**REVERSALS, "still": "moving"}).tolist() == [1, 0, -1]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), videos=st.integers(1, 40), classes=st.integers(2, 9), k=st.integers(1, 6))
def test_top_k_agrees_with_torchmetrics(seed: int, videos: int, classes: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random((videos, classes)).astype(np.float32)
    labels = rng.integers(0, classes, videos)
    mine = top_k_accuracy(scores, labels, k)
    if k >= classes:
        assert mine == 1.0
        return
    theirs = multiclass_accuracy(
        torch.from_numpy(scores), torch.from_numpy(labels), num_classes=classes, top_k=k, average="micro"
    )
    assert mine == pytest.approx(float(theirs))


def test_per_class_of_an_empty_class_is_none() -> None:
    assert per_class_accuracy(np.array([[2, 2], [0, 0]])) == [0.5, None]


def test_merging_parts_counts_each_video_once_in_order() -> None:
    whole = Scores.merge(
        [scores_of([[1, 0, 0], [0, 1, 0]], [0, 1], [2, 0]), scores_of([[0, 0, 1], [1, 0, 0]], [2, 0], [1, 2])]
    )
    assert whole.index.tolist() == [0, 1, 2]
    assert whole.labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize("averaging", ["softmax", "logits"])
def test_views_are_averaged_as_asked(averaging) -> None:
    logits = torch.tensor([[[4.0, 0.0], [0.0, 1.0]]])

    class Fixed(torch.nn.Module):
        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            assert clip.shape == (1, 3, 4, 8, 8)
            return logits[:, int(clip.mean() + 1)]  # the scale makes -1 of 0, and 0 of 128

    clip = torch.zeros(1, 2, 3, 4, 8, 8, dtype=torch.uint8)
    clip[:, 1] = 128
    found = video_scores(Fixed(), clip, prepare=fakes.Scale(), averaging=averaging)
    expected = logits.softmax(-1).mean(1) if averaging == "softmax" else logits.mean(1).softmax(-1)
    torch.testing.assert_close(found, expected)


def test_evaluation_reads_every_video_restores_the_mode_and_lists_the_skipped(tmp_path) -> None:
    model = fakes.model().train()
    model.norm.eval()
    seen: list[int] = []
    loader = fakes.loader(fakes.FakeVideos(11, bad=(2,), views=3))
    result = evaluate(
        model, loader, prepare=fakes.Scale(), classes=fakes.CLASSES, reversals=fakes.REVERSALS, on_batch=seen.append
    )
    assert seen == [4, 4, 3]
    assert result.num_videos == 11
    assert result.skipped == (("2.mp4", "truncated"),)
    assert model.training
    assert not model.norm.training
    np.testing.assert_allclose(result.scores.sum(axis=1), 1, rtol=1e-5)
    result.write_scores(tmp_path / "scores.npz", [f"{i}.mp4" for i in range(11)])
    with np.load(tmp_path / "scores.npz") as stored:
        assert set(stored) == {"paths", "labels", "scores", "classes"}
        assert stored["paths"][3] == "3.mp4"
        assert tuple(stored["classes"]) == fakes.CLASSES


@pytest.mark.parametrize("averaging", ["softmax", "logits"])
def test_many_views_go_through_the_model_in_pieces_with_the_same_numbers(averaging) -> None:
    model, sizes = fakes.model().eval(), []
    model.register_forward_hook(lambda module, inputs, logits: sizes.append(len(logits)))
    clip = torch.randint(0, 256, (3, 5, 3, 4, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        found = video_scores(model, clip, prepare=fakes.Scale(), averaging=averaging)
        assert sizes == [3] * 5
        logits = model(fakes.Scale()(clip.flatten(0, 1))).unflatten(0, (3, 5))
    expected = logits.softmax(-1).mean(1) if averaging == "softmax" else logits.mean(1).softmax(-1)
    torch.testing.assert_close(found, expected)


def test_one_class_is_measured_too() -> None:
    result = measure(scores_of([[1.0], [1.0]], [0, 0]), classes=("left",))
    assert (result.top1, result.top5, result.confusion.tolist()) == (1.0, 1.0, [[2]])


def test_the_batch_size_does_not_change_the_scores() -> None:
    model, videos = fakes.model(), fakes.FakeVideos(10)
    one = evaluate(model, fakes.loader(videos, batch_size=1), prepare=fakes.Scale(), classes=fakes.CLASSES)
    four = evaluate(model, fakes.loader(videos, batch_size=4), prepare=fakes.Scale(), classes=fakes.CLASSES)
    np.testing.assert_allclose(one.scores, four.scores, atol=1e-6)


def test_no_readable_video_and_non_finite_scores_are_clear_errors() -> None:
    empty = [
        {
            "clip": torch.zeros(0, 3, 4, 8, 8, dtype=torch.uint8),
            "label": torch.zeros(0),
            "skipped": [("a.mp4", "no video")],
        }
    ]
    with pytest.raises(DataError, match=r"a\.mp4: no video"):
        evaluate(fakes.model(), empty, prepare=fakes.Scale(), classes=fakes.CLASSES)
    broken = fakes.model()
    torch.nn.init.constant_(broken.head.weight, float("nan"))
    with pytest.raises(GtaError, match="not finite for 5 of 5"):
        evaluate(broken, fakes.loader(fakes.FakeVideos(5)), prepare=fakes.Scale(), classes=fakes.CLASSES)


def test_wrong_number_of_classes_says_both_numbers() -> None:
    with pytest.raises(ValueError, match="5 scores per clip, but there are 2 classes"):
        evaluate(fakes.model(), fakes.loader(fakes.FakeVideos(5)), prepare=fakes.Scale(), classes=("a", "b"))
