"""What the README says is so: its list of folders is the tree's; tests/docs runs its commands and Python."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_folder_of_the_package_has_its_caption_and_no_other():
    listed = re.findall(r"^\| `(?:src/gta/)?(\w+)/` \| \S.+ \|$", README, re.M)
    folders = {path.parent.name for path in (ROOT / "src" / "gta").glob("*/__init__.py")}
    assert sorted(listed) == sorted(folders)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not re.match(r"https?://", target):
            assert (ROOT / target).exists(), target


def test_the_paper_table_is_what_the_command_prints(capsys):
    from gta.cli import run

    assert run(["paper", "--markdown"]) == 0
    assert capsys.readouterr().out.strip() in README
