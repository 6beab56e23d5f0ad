"""The data sets of the field, on files written in exactly their official formats, and every mistake a user can make."""

import itertools
import json

import pytest
from layout_files import listed, touch

from gta.datasets.listing import detect_layout, open_videos
from gta.errors import DataError, OptionError

# --- Something-Something v2 ------------------------------------------------------------------------------------------

V2_LABELS = {
    "Approaching something with your camera": "0",
    "Pushing something from left to right": "1",
    "Putting something on the edge of something so it is not supported and falls down": "2",
    "Pretending to put something into something": "3",
    "Trying but failing to attach something to something because it doesn't stick": "4",
}


def v2_entry(identity, template, label="x", placeholders=()):
    return {"id": identity, "label": label, "template": template, "placeholders": list(placeholders)}


V2_TRAIN = [
    v2_entry(
        "78687", "Pushing [something] from left to right", "pushing café crème from left to right", ["café crème"]
    ),
    v2_entry("42326", "Approaching [something] with your camera"),
    v2_entry("100", "Putting [something] on the edge of [something] so it is not supported and falls down"),
    v2_entry("101", "Trying but failing to attach [something] to [something] because it doesn't stick"),
    v2_entry("999999", "Pretending to put [something] into [something]"),  # its file is missing
]


@pytest.fixture(params=["", "labels/", "something-something-v2-"])
def ssv2(tmp_path, request):
    def write(name, value):
        path = tmp_path / f"{request.param}{name}.json"
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(value, ensure_ascii=False, indent=0).replace("\n", "\r\n")  # Windows line ends
        path.write_bytes(text.encode())

    write("labels", V2_LABELS)
    write("train", V2_TRAIN)
    write("validation", [v2_entry("7", "Pushing [something] from left to right")])
    write("test", [{"id": "8"}, {"id": "9"}])
    for identity in ("78687", "42326", "100", "101", "7", "8", "9"):
        touch(tmp_path / "20bn-something-something-v2" / f"{identity}.webm")
    return tmp_path


def test_something_v2(ssv2):
    assert detect_layout(ssv2) == "ssv2"
    videos = open_videos(ssv2, "train")
    assert videos.classes == tuple(V2_LABELS)
    assert listed(ssv2, "train") == {
        "78687.webm": "Pushing something from left to right",
        "42326.webm": "Approaching something with your camera",
        "100.webm": "Putting something on the edge of something so it is not supported and falls down",
        "101.webm": "Trying but failing to attach something to something because it doesn't stick",
    }
    assert [path.name for path in videos.missing] == ["999999.webm"]
    assert listed(ssv2, "val") == {"7.webm": "Pushing something from left to right"}
    assert listed(ssv2, "test") == {"8.webm": None, "9.webm": None}


def test_something_v2_test_answers(ssv2):
    (ssv2 / "test-answers.csv").write_text(
        "8;Approaching something with your camera\r\n9;Pretending to put something into something\r\n"
    )
    assert listed(ssv2, "test") == {
        "8.webm": "Approaching something with your camera",
        "9.webm": "Pretending to put something into something",
    }


def test_a_models_own_class_order_is_kept(ssv2):
    order = tuple(reversed(V2_LABELS))
    videos = open_videos(ssv2, "train", classes=order)
    assert videos.classes == order
    assert videos.records[0].label == order.index("Pushing something from left to right")
    with pytest.raises(DataError, match=r"train.json: the label 'Pushing .*' of 78687.webm is not among the 1 classes"):
        open_videos(ssv2, "train", classes=["Approaching something with your camera"])


# --- Something-Something v1 ------------------------------------------------------------------------------------------


@pytest.fixture
def ssv1(tmp_path):
    prefix = "something-something-v1-"
    (tmp_path / f"{prefix}labels.csv").write_bytes(
        "Holding something\r\nÖffnen von etwas\r\nTurning something upside down\r\n".encode()
    )
    (tmp_path / f"{prefix}train.csv").write_bytes(
        "41775;Holding something\r\n3;Öffnen von etwas\r\n77;Holding something\r\n".encode()
    )
    (tmp_path / f"{prefix}validation.csv").write_text("5;Turning something upside down\n")
    (tmp_path / f"{prefix}test.csv").write_text("6\n7\n")
    for identity in ("41775", "3", "5", "6"):
        touch(tmp_path / "20bn-something-something-v1" / identity / "00001.jpg")
    return tmp_path


def test_something_v1(ssv1):
    assert detect_layout(ssv1) == "ssv1"
    assert listed(ssv1, "train") == {"41775": "Holding something", "3": "Öffnen von etwas"}
    assert [path.name for path in open_videos(ssv1, "train").missing] == ["77"]
    assert listed(ssv1, "val") == {"5": "Turning something upside down"}
    assert listed(ssv1, "test") == {"6": None}


def test_something_v1_mistakes(ssv1):
    train = ssv1 / "something-something-v1-train.csv"
    train.write_text("41775,Holding something\n")
    with pytest.raises(DataError, match=r"train.csv: line 1 is '41775,Holding something', expected <id>;<label>"):
        open_videos(ssv1, "train")
    train.write_text("41775;Holding nothing\n")
    with pytest.raises(DataError, match="the label 'Holding nothing' of 41775 is not among the 3 classes"):
        open_videos(ssv1, "train")
    train.write_text("1;Holding something\n2;Holding something\n")
    with pytest.raises(DataError, match="none of its 2 videos exist"):
        open_videos(ssv1, "train")
    train.write_bytes(b"3;\xd6ffnen\n")  # Latin-1
    with pytest.raises(DataError, match="not UTF-8"):
        open_videos(ssv1, "train")
    train.unlink()
    with pytest.raises(DataError, match=r"train.csv: no such file"):
        open_videos(ssv1, "train")


# --- Kinetics --------------------------------------------------------------------------------------------------------

KINETICS_HEADER = "label,youtube_id,time_start,time_end,split\r\n"


@pytest.fixture
def kinetics(tmp_path):
    rows = [
        "testifying,---QUuC4vJs,84,94,train",
        "eating spaghetti,-3B32lodo2M,59,69,train",
        '"hitting, with ""force""",0A_b-c1,0,10,train',
        "crêpe making,gone_video1,5,15,train",
    ]
    (tmp_path / "train.csv").write_bytes((KINETICS_HEADER + "\r\n".join(rows) + "\r\n").encode())
    (tmp_path / "validate.csv").write_text(KINETICS_HEADER + "eating spaghetti,zzz,1,11,validate\n")
    touch(tmp_path / "train" / "testifying" / "---QUuC4vJs_000084_000094.mp4")
    touch(tmp_path / "train" / "eating_spaghetti" / "-3B32lodo2M_000059_000069.mkv")
    touch(tmp_path / "train" / "0A_b-c1.webm")
    touch(tmp_path / "val" / "eating spaghetti" / "zzz_000001_000011.mp4")
    return tmp_path


def test_kinetics(kinetics):
    assert detect_layout(kinetics) == "kinetics"
    videos = open_videos(kinetics, "train")
    assert videos.classes == ("crêpe making", "eating spaghetti", 'hitting, with "force"', "testifying")
    assert listed(kinetics, "train") == {
        "---QUuC4vJs_000084_000094.mp4": "testifying",
        "-3B32lodo2M_000059_000069.mkv": "eating spaghetti",
        "0A_b-c1.webm": 'hitting, with "force"',
    }
    assert [path.name for path in videos.missing] == ["gone_video1_000005_000015.mp4"]
    assert listed(kinetics, "val") == {"zzz_000001_000011.mp4": "eating spaghetti"}
    with pytest.raises(DataError, match=r"there is no test.csv"):
        open_videos(kinetics, "test")


def test_kinetics_mistakes(kinetics):
    (kinetics / "train.csv").write_text(KINETICS_HEADER + "a,b,c,d,train\n")
    with pytest.raises(DataError, match="time_start of b is 'c', not a number of seconds"):
        open_videos(kinetics, "train")
    (kinetics / "train.csv").write_text("label,youtube_id\na,b\n")
    with pytest.raises(DataError, match="must name the columns label,youtube_id,time_start"):
        open_videos(kinetics, "train")
    (kinetics / "train.csv").write_text(KINETICS_HEADER + "a,b,0,10,train\n")
    with pytest.raises(DataError, match="none of its 1 videos is in"):
        open_videos(kinetics, "train")


# --- UCF-101 and HMDB-51 ---------------------------------------------------------------------------------------------


def test_ucf101(tmp_path):
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\r\n2 ApplyLipstick\r\n")
    for fold in (1, 2):
        (lists / f"trainlist0{fold}.txt").write_text(
            f"ApplyEyeMakeup/v_ApplyEyeMakeup_g0{fold}_c01.avi 1\r\n"
            f"ApplyLipstick/v_ApplyLipstick_g0{fold}_c01.avi 2\r\n"
        )
        (lists / f"testlist0{fold}.txt").write_text(f"ApplyLipstick/v_ApplyLipstick_g0{3 - fold}_c01.avi\n")
        touch(tmp_path / "UCF-101" / "ApplyEyeMakeup" / f"v_ApplyEyeMakeup_g0{fold}_c01.avi")
        touch(tmp_path / "UCF-101" / "ApplyLipstick" / f"v_ApplyLipstick_g0{fold}_c01.avi")
    assert detect_layout(tmp_path) == "ucf101"
    assert listed(tmp_path, "train") == {
        "v_ApplyEyeMakeup_g01_c01.avi": "ApplyEyeMakeup",
        "v_ApplyLipstick_g01_c01.avi": "ApplyLipstick",
    }
    assert listed(tmp_path, "val") == listed(tmp_path, "test") == {"v_ApplyLipstick_g02_c01.avi": "ApplyLipstick"}
    assert "v_ApplyEyeMakeup_g02_c01.avi" in listed(tmp_path, "train", fold=2)
    with pytest.raises(DataError, match=r"trainlist03.txt: no such file"):
        open_videos(tmp_path, "train", fold=3)
    with pytest.raises(OptionError, match=r"^fold is 4: it must be 1 or 2 or 3$"):
        open_videos(tmp_path, "train", fold=4)


def test_hmdb51(tmp_path):
    lists = tmp_path / "testTrainMulti_7030_splits"
    lists.mkdir()
    for name in ("brush_hair", "climb_stairs"):
        (lists / f"{name}_test_split1.txt").write_text(
            f"{name}_a.avi 1 \r\n{name} b#2.avi 2 \r\n{name}_c.avi 0 \r\n{name}_gone.avi 1 \r\n"
        )
        for video in ("_a", " b#2", "_c"):
            touch(tmp_path / "hmdb51" / name / f"{name}{video}.avi")
    assert detect_layout(tmp_path) == "hmdb51"
    assert listed(tmp_path, "train") == {"brush_hair_a.avi": "brush_hair", "climb_stairs_a.avi": "climb_stairs"}
    assert listed(tmp_path, "val") == {"brush_hair b#2.avi": "brush_hair", "climb_stairs b#2.avi": "climb_stairs"}
    assert len(open_videos(tmp_path, "train").missing) == 2
    (lists / "brush_hair_test_split1.txt").write_text("brush_hair_a.avi 7\n")
    with pytest.raises(DataError, match="is not <video> followed by 0, 1 or 2"):
        open_videos(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("labels.json", ["a"], "expected a JSON object"),
        ("labels.json", {"a": "0", "b": "2"}, "are not 0 to 1"),
        ("train.json", {"id": "1"}, "expected a JSON list"),
        ("train.json", [{"label": "x"}], "entry 1 has no 'id'"),
        ("train.json", [{"id": "7"}], "video 7 has no 'template'"),
        ("train.json", [], "the list is empty"),
        ("train.json", "{", "not valid JSON"),
    ],
)
def test_something_v2_mistakes(tmp_path, name, value, message):
    (tmp_path / "labels.json").write_text(json.dumps(V2_LABELS))
    (tmp_path / "train.json").write_text(json.dumps(V2_TRAIN))
    touch(tmp_path / "videos" / "7.webm")
    (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(DataError, match=message):
        open_videos(tmp_path, "train")


def test_kinetics_rows_of_an_untrimmed_video_are_its_parts(tmp_path):
    touch(tmp_path / "train" / "wave" / "abc.mp4")
    touch(tmp_path / "train" / "wave" / "xyz_000001_000011.mp4")
    rows = ["wave, abc, 3.5, 13.5, train", "wave, abc, 20, 30, train", "wave, xyz, 1, 11, train"]
    (tmp_path / "train.csv").write_text("\n".join(["Label, YouTube_ID, Time_Start, Time_End, Split", *rows]) + "\n")
    videos = open_videos(tmp_path, "train")
    assert videos.layout == "kinetics"
    parts = [(record.path.name, record.start_seconds, record.end_seconds) for record in videos.records]
    assert parts == [("abc.mp4", 3.5, 13.5), ("abc.mp4", 20, 30), ("xyz_000001_000011.mp4", None, None)]
    (tmp_path / "train.csv").write_text(KINETICS_HEADER + "wave,abc,30,20,train\n")
    with pytest.raises(DataError, match="abc ends at 20 s, not after its start at 30 s"):
        open_videos(tmp_path, "train")
    (tmp_path / "train.csv").write_text(KINETICS_HEADER + "wave,high,abc,3,20,train\n")
    with pytest.raises(DataError, match="line 2 has more values than the 5 columns"):
        open_videos(tmp_path, "train")


# --- UTD-MHAD ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "RGB", "class folders"])
def test_utd_mhad_splits_by_people_as_the_protocol_does(tmp_path, folder):
    for action, subject in itertools.product((1, 2, 27), range(1, 9)):
        inside = f"{action:02d} anything" if folder == "class folders" else folder
        touch(tmp_path / inside / f"a{action}_s{subject}_t1_color.avi")
    assert detect_layout(tmp_path) == "utd_mhad"
    videos = open_videos(tmp_path, "train")
    assert len(videos.classes) == 27
    assert [videos.classes[record.label] for record in videos.records[::4]] == ["swipe left", "swipe right", "squat"]
    people = {
        (split, fold): {record.path.stem[-10] for record in open_videos(tmp_path, split, fold=fold).records}
        for split in ("train", "val", "test")
        for fold in (1, 2, 3)
    }
    assert people["train", 1] == set("1357")
    assert people["val", 1] == people["test", 1] == set("2468")
    for fold in (2, 3):  # settings are chosen without the test people, and without the held-out one in training
        assert people["train", fold] | people["val", fold] <= people["train", 1]
        assert not people["train", fold] & people["val", fold]


def test_utd_mhad_names_what_does_not_fit(tmp_path):
    touch(tmp_path / "a1_s2_t1.mp4")
    with pytest.raises(DataError, match="no video a<action>_s<subject>_t<trial> of the subjects 1, 3, 5, 7"):
        open_videos(tmp_path, "train")
    touch(tmp_path / "a28_s1_t1.mp4")
    with pytest.raises(DataError, match=r"'a28' of a28_s1_t1\.mp4 is not among the 27 classes"):
        open_videos(tmp_path, "train")
    touch(tmp_path / "wave" / "anything.mp4")
    assert detect_layout(tmp_path) == "folder"
