"""What the page does when its controls move, without a browser: nothing twice, nothing stale, nothing swallowed."""

import copy
import shutil

import pytest

pytest.importorskip("gradio")

from gta.serving.film import film, shown_protocol
from gta.serving.handlers import Handlers, Visit


@pytest.fixture
def handlers(service, clip):
    return Handlers(service, {"clip": clip})


@pytest.fixture
def sent(clip, tmp_path):
    """A visitor's video, which may go."""
    return shutil.copy(clip, tmp_path / "sent.mp4")


def _show(handlers, visit, upload=None, example=None, *, model="gta", beside="none", percent=0, seed=0, call=None):
    call = visit.call + 1 if call is None else call
    return handlers.show(visit, upload and str(upload), example, model, beside, "shuffle", percent, seed, call)


def _is_markup(value) -> bool:
    return isinstance(value, str)


def test_what_is_shown_already_is_not_worked_out_again(handlers, sent, monkeypatch):
    """One file is read once for a model and once for the film; a moved slider reads nothing."""
    reads = []
    read = handlers.service.reader.read
    monkeypatch.setattr(
        handlers.service.reader, "read", lambda *asked, **more: reads.append(asked[0]) or read(*asked, **more)
    )
    visit = Visit()
    answer, moved, seen, *_ = _show(handlers, visit, sent)
    assert "Forwards" in answer
    assert "Move the slider" in moved
    assert seen == ""
    assert len(reads) == 2
    answer, moved, seen, *_ = _show(handlers, visit, sent, percent=50)
    assert "\u2192" in moved
    assert not _is_markup(answer)
    assert not _is_markup(seen)
    assert not any(map(_is_markup, _show(handlers, visit, sent, percent=50)))
    assert _is_markup(_show(handlers, visit, sent, percent=50, seed=1)[1])
    assert len(reads) == 2


def test_an_older_call_that_comes_late_changes_nothing(handlers, sent):
    visit = Visit()
    _show(handlers, visit, sent, percent=50, call=7)
    assert not any(map(_is_markup, _show(handlers, visit, sent, percent=55, call=6)))
    assert not any(map(_is_markup, _show(handlers, visit, sent, percent=50, call=8)))  # it is what is shown


def test_every_visitor_begins_anew(handlers, sent):
    visit = Visit()
    _show(handlers, visit, sent)
    assert copy.deepcopy(visit) == Visit() != visit


def test_of_an_upload_and_an_example_the_newer_one_counts_and_the_other_one_goes(handlers, sent):
    visit = Visit()
    _show(handlers, visit, sent)
    answer, _, seen, upload, example = _show(handlers, visit, sent, "clip")
    assert (seen, upload) == ("", None)
    assert not _is_markup(example)
    assert _is_markup(answer)
    assert not any(map(_is_markup, _show(handlers, visit, None, "clip")))  # the control of the upload has followed
    *_, example = _show(handlers, visit, sent, "clip")
    assert example is None


@pytest.mark.parametrize("percent", [0, 50])
def test_a_video_that_has_gone_is_told_by_the_slider_and_by_the_explanation(handlers, sent, percent):
    visit = Visit()
    _show(handlers, visit, sent, percent=percent)
    sent.unlink()
    answer, moved, *_ = _show(handlers, visit, sent, percent=percent + 5)
    assert "This video has been removed: upload it again." in moved
    assert not _is_markup(answer)
    assert "This video has been removed: upload it again." in handlers.explain(visit, str(sent), None, "gta", "none")


def test_an_unreadable_file_is_told_once(handlers, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    answer, moved, seen, *_ = _show(handlers, Visit(), bad, percent=50)
    assert "cannot be read as a video" in answer
    assert (moved, seen) == ("", "")


def test_an_explanation_of_what_is_no_longer_chosen_is_not_shown(handlers, sent, monkeypatch):
    """Another model is chosen while it is made."""
    visit = Visit()
    _show(handlers, visit, sent)
    explain_page = handlers.service.explain_page

    def slow(*asked):
        _show(handlers, visit, sent, model="nl")
        return explain_page(*asked)

    assert "iframe" in handlers.explain(visit, str(sent), None, "gta", "none")
    monkeypatch.setattr(handlers.service, "explain_page", slow)
    assert handlers.explain(visit, str(sent), None, "gta", "none") == ""


def test_a_film_has_more_frames_than_a_model_reads_and_a_long_video_those_it_reads(service, clip, monkeypatch):
    video = service.read(clip)
    shown = film(service, clip, video, 0)
    assert len(shown.frames) == min(video.num_frames, 48) > 8
    assert shown.seconds == video.seconds
    monkeypatch.setattr("gta.serving.film._MOST_VIDEO_FRAMES", 4)
    short = film(service, clip, video, 0)
    assert len(short.frames) == 8
    assert "The 8 frames that the model reads" in short.caption
    assert short.seconds == pytest.approx(video.seconds, rel=0.2)  # evenly drawn: they stand for all of it


def test_a_film_of_a_large_protocol_is_small_and_has_the_models_square(service):
    clip = service.models[0].predictor.clip
    large = shown_protocol(type(clip)(resize=(240, 320), crop_size=224, test_crops=3, test_clips=2), 2000)
    assert (large.test_resize, large.test_crop_size, large.num_frames) == ((137, 183), 128, 48)
    assert (large.test_clips, large.test_crops) == (1, 1)
