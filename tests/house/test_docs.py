import re
from pathlib import Path

import pytest

from angioshare.synthesis.registry import SYNTHESIZERS

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


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as a browser of repositories makes them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_docs_every_anchor_is_a_heading(page):
    anchors = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [
        f"{name}#{anchor}" for name, anchor in anchors if anchor not in headings(page.parent / name if name else page)
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_docs_nothing_waits_to_be_filled_in(page):
    assert re.findall(r"@[A-Z_]+@|\b(?:TODO|TBD|FIXME)\b", page.read_text(encoding="utf-8")) == []


PAGE_OF = {"calibrated": "calibrated-simulator", "evolution": "private-evolution"}
SECTIONS = ("Idea", "Equations", "Guarantee", "Cost", "Settings", "When to use it")


@pytest.mark.parametrize("method", sorted(set(SYNTHESIZERS) - {"real", "shuffled", "simulator", "public-cohort"}))
def test_docs_every_method_has_a_page_of_all_that_is_asked_of_it(method):
    text = (ROOT / "docs" / "concepts" / f"{PAGE_OF.get(method, method)}.md").read_text(encoding="utf-8")
    parts = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in text.split("\n## ")[1:]}
    assert [name for name in SECTIONS if len(parts.get(name, "")) < 80] == []


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
