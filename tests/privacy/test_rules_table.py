"""The table of rules in the documentation names tests and mutants that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concepts" / "privacy.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and ".py" in line]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip() or "the same")
def test_named_tests_and_mutants_exist(row: str) -> None:
    _, _, tests, mutants, _ = row.split("|")
    files = re.findall(r"`(\S+?\.py)(?:::(\w+))?`", tests)
    assert files
    sources = []
    for file, name in files:
        path = ROOT / file if "/" in file else Path(__file__).parent / file
        sources.append(path.read_text())
        assert not name or f"def {name}(" in sources[-1]
    for mutant in re.findall(r"`(\w+)`", mutants):
        assert any(re.search(rf'(class|def) {mutant}\b|"{mutant}"', source) for source in sources), mutant


def test_every_mutant_is_in_the_table() -> None:
    caught = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for block in re.findall(r'parametrize\(\s*"mutant",\s*\[(.*?)\]', path.read_text(), re.S):
            caught.update(re.findall(r"\w+", block))
    assert caught
    assert not {name for name in caught if f"`{name}`" not in PAGE}
