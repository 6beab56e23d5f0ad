"""The page builder: whatever is handed to it is shown as text, and the page allows itself nothing else."""

import base64
import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_reader import PageReader

from gta.terminal import printable
from gta.viz import page as p


def _read(page: str) -> PageReader:
    reader = PageReader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def _everything(word: str) -> str:
    return p.page(
        word,
        p.section(
            word,
            p.paragraph(word, p.isolated(word)),
            p.bullets([word]),
            p.code(word),
            p.folded(word, p.paragraph(word)),
            p.figure(p.image(b"x", word), word),
            p.table([word, word], [[word, p.isolated(word)], p.Group(word)]),
        ),
    )


@settings(deadline=None)
@given(st.text(min_size=1))
def test_any_text_is_shown_and_makes_no_markup(word):
    plain = _read(_everything("word"))
    page = _read(_everything(word))
    assert page.tags == plain.tags
    shown = "".join(page.text)
    for line in printable(word).splitlines():
        assert line in shown


@given(st.text())
def test_data_reads_back_and_does_not_end_its_element(word):
    import json

    page = p.page("t", script="1", data=json.dumps({"word": word}))
    (stored,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert json.loads(stored) == {"word": word}


def test_the_policy_allows_the_page_s_own_script_and_no_request():
    quiet = p.page("t")
    assert "script-src" not in quiet
    assert "<script" not in quiet
    assert "default-src 'none'" in quiet
    script = "let a = '<b>';"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in p.page("t", script=script)


def test_names_inside_a_sentence_are_isolated():
    marked = p.with_names("best: + GTA (a<b), then + GTA x", ["+ GTA", "+ GTA x", "a<b", ""])
    assert marked == "best: <bdi>+ GTA</bdi> (<bdi>a&lt;b</bdi>), then <bdi>+ GTA x</bdi>"
    assert p.with_names("a & b", []) == "a &amp; b"


def test_columns_and_cards():
    few = p.table(["a", "b"], [["x", "1"]])
    assert "cards" not in few
    assert few.count('class="n"') == 2
    many = p.table(["a", "b", "c", "d", "e"], [["x", "1", "2", "3", "4"]])
    assert '<table class="cards">' in many
    assert 'data-label="e"' in many
    with pytest.raises(ValueError, match="1 cells in a table of 2"):
        p.table(["a", "b"], [["x"]])


def test_quiet_rows_are_the_last_ones():
    page = p.table(["a"], [["x"], ["y"]], quiet_rows=1)
    assert re.findall(r"<tr( class=\"note\")?><td", page) == ["", ' class="note"']


def test_an_empty_section_is_nothing():
    assert p.section("x") == ""
