"""Files appear whole or not at all."""

import json
import os
import stat

import pytest

from gta.files import atomic_path, check_writable, write_json, write_text


def test_the_old_file_survives_an_error_and_no_scrap_stays(tmp_path):
    target = tmp_path / "result.json"
    write_text(target, "old")

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_temporary_name_keeps_the_suffix_and_the_folder(tmp_path):
    with atomic_path(tmp_path / "new" / "clip.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        assert temporary.parent == tmp_path / "new"
        temporary.write_bytes(b"x")
    assert (tmp_path / "new" / "clip.mp4").read_bytes() == b"x"


def test_files_are_readable_as_the_umask_says(tmp_path):
    write_text(tmp_path / "a.txt", "x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) & stat.S_IRUSR


def test_json_keeps_non_ascii_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"label": "Öffnen von [etwas]", "path": tmp_path})
    assert "Öffnen" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["path"] == str(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"loss": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_names_that_are_not_utf_8_survive(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    write_text(tmp_path / "a.txt", name)
    assert (tmp_path / "a.txt").read_bytes() == b"caf\xe9.mp4"
    write_json(tmp_path / "a.json", {"path": name})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"path": name}


def test_whether_a_place_can_be_written_is_known_without_leaving_a_trace(tmp_path):
    check_writable(tmp_path / "new" / "a.json")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(IsADirectoryError):
        check_writable(tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        check_writable(tmp_path / "file" / "a.json")
