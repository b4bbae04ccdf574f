import io
import re

from rich.console import Console

from angioshare.cli.bar import BarProgress
from angioshare.progress import LineProgress


def test_lines_tell_start_steps_time_left_and_end():
    out = io.StringIO()
    lines = LineProgress(out, every_s=0.0)
    lines.start("train", 2, done=1)
    lines.advance("epsilon 0.5 per patch")
    lines.finish()
    first, second, third = out.getvalue().splitlines()
    assert first == "train: 1/2"
    assert second.startswith("train: 2/2, ")
    assert "left epsilon 0.5 per patch" in second
    assert third.startswith("train: done in ")


def test_the_bar_shows_the_note():
    out = io.StringIO()
    bar = BarProgress(Console(file=out, force_terminal=True, width=120))
    bar.start("train", 2)
    bar.advance("epsilon 0.5")
    bar.finish()
    bar.finish()
    assert "epsilon 0.5" in out.getvalue()
    assert "1/2" in out.getvalue()


def test_what_ends_early_says_where():
    out = io.StringIO()
    lines = LineProgress(out)
    lines.start("train", 5, 2)
    lines.advance("fine")
    lines.finish()
    assert re.fullmatch(r"train: 2/5\ntrain: ended at 3/5 after \d+\.\d s\n", out.getvalue())
