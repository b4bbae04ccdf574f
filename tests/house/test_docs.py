import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")
NAMED = re.compile(r"`((?:docs|src|tests|benchmarks)/[A-Za-z0-9_./-]+\.(?:md|py))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_docs_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    lost = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    lost += [name for name in NAMED.findall(text) if not (ROOT / name).exists()]
    assert not lost


def test_readme_names_both_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text


def test_docs_every_command_of_the_readme_exists():
    import typer.main

    from angioshare.cli.main import app

    known = set(typer.main.get_command(app).commands)
    named = set(re.findall(r"^angioshare ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named
    assert named <= known


def test_no_text_names_a_path_of_a_machine():
    pattern = re.compile(r"(^|[^A-Za-z0-9_.])/(work|farm|root|home|Users)/[a-z]")
    texts = [*PAGES, *(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.toml"), ROOT / "Makefile"]
    assert [str(path) for path in texts if pattern.search(path.read_text(encoding="utf-8"))] == []
