import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "angioshare"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_imports_point_down():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_has_more_than_600_lines_and_each_says_what_it_is_for(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 600
    assert path.name == "__init__.py" or ast.get_docstring(ast.parse(text))


def test_functions_fit_a_screen():
    long = [
        f"{path.relative_to(ROOT)}:{node.name} has {node.end_lineno - node.body[0].lineno + 1} lines"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.body[0].lineno > 60
    ]
    assert not long


def test_no_pickle_is_ever_read():
    unsafe = re.compile(r"import pickle|weights_only=False|allow_pickle=True|yaml\.load\(|torch\.load\(|joblib")
    assert [str(path) for path in SOURCES if unsafe.search(path.read_text(encoding="utf-8"))] == []


def test_the_public_face_is_the_listed_one():
    import angioshare

    assert angioshare.__all__ == ["__version__"]


def test_version_is_the_same_everywhere():
    import angioshare

    version = re.escape(angioshare.__version__)
    assert re.search(rf'^version = "{version}"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert re.search(rf"^version: {version}", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)


def test_help_loads_no_heavy_library():
    code = (
        "import sys; from angioshare.cli.main import main; main(['--help']); "
        "heavy = {'torch', 'numpy', 'scipy', 'nibabel', 'pydantic', 'matplotlib'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


TORCH_FREE = (
    "angioshare.privacy.ledger", "angioshare.privacy.accounting", "angioshare.privacy.selection",
    "angioshare.privacy.planner", "angioshare.report.page", "angioshare.records", "angioshare.simulator.subject",
    "angioshare.cohort.cohort", "angioshare.metrics.compare", "angioshare.config",
)  # fmt: skip


@pytest.mark.parametrize("module", TORCH_FREE)
def test_what_needs_no_networks_loads_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code]).returncode == 0
