import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angioshare.privacy.unit import Guarantee, public_knowledge
from angioshare.records import Record
from angioshare.report import tables
from angioshare.report.content import ReportContent
from angioshare.report.limits import limits
from angioshare.report.page import _guarantees


def guarantee(epsilon):
    return Guarantee(unit="patch", epsilon=epsilon, delta=1e-5, relation="add-or-remove-one", method="PLD")


@given(st.lists(st.floats(0, 100), min_size=2, max_size=20))
def test_mean_and_sd_are_those_of_the_statistics_module(values):
    summary = tables.summarise(values)
    assert summary.mean == pytest.approx(statistics.fmean(values))
    assert summary.sd == pytest.approx(statistics.stdev(values), abs=1e-9)


def test_undefined_scores_are_counted_and_left_out_of_the_mean():
    summary = tables.summarise([1.0, None, 3.0, math.nan, math.inf])
    assert (summary.mean, summary.n, summary.undefined) == (2.0, 5, 3)


def test_a_single_subject_has_no_sd_and_none_has_no_mean():
    assert str(tables.summarise([0.5])) == "0.500 (–)"
    assert str(tables.summarise([None])) == "undefined"


@given(st.floats(1e-6, 1e6))
def test_a_printed_epsilon_is_never_below_the_calculated_one(epsilon):
    shown = float(tables.epsilon_words(guarantee(epsilon)))
    assert epsilon * (1 - 1e-9) <= shown <= epsilon * 1.0101 + 1e-12


def test_epsilon_is_infinite_or_zero_in_words():
    assert tables.epsilon_words(guarantee(math.inf)) == "∞"
    assert tables.epsilon_words(guarantee(0.0)) == "0"


def test_table_one_has_the_rivals_and_the_best_private_source_in_order(content):
    chosen = [source.name for source in tables.main_sources(content)]
    assert chosen == ["real", "plain", "quiet", "sim", "shuffled"]


def test_the_best_private_source_is_chosen_on_validation_not_on_test_subjects(content):
    better = [
        Record(stage="evaluate", metric="dice", value=1.0, subject=f"sub-{n}", site="home", trained_on="loud")
        for n in range(50)
    ]
    content = type(content)(**{**vars(content), "records": [*content.records, *better]})
    assert "loud" not in [source.name for source in tables.main_sources(content)]


def test_cells_of_a_row_are_means_of_its_own_records(content):
    row = tables.score_rows(content, [content.source("quiet")])[0]
    by_hand = [
        r.value for r in content.records if (r.trained_on, r.site, r.metric) == ("quiet", "away", "dice") and r.subject
    ]
    assert row.cells[1]["dice"].mean == pytest.approx(statistics.fmean(by_hand))


def test_published_numbers_stand_beside_the_non_private_and_the_private_row():
    assert tables.PUBLISHED["non-private"].dice == (0.84, 0.88)
    assert tables.PUBLISHED["private"].dice == (0.75, 0.69)


def test_times_come_from_records_where_no_others_are_given(content):
    times = [Record(stage="train", metric="wall_time", value=30.0), Record(stage="train", metric="wall_time", value=45)]
    content = type(content)(**{**vars(content), "records": times, "stage_seconds": {}})
    assert tables.stage_times(content) == [("train", "1 min 15 s")]


def test_limits_say_that_a_patch_level_bound_protects_no_person(content):
    words = limits(content)
    assert any("A person is not protected by “Title of quiet”" in line for line in words)
    assert any("Nobody is protected by “Title of plain”" in line for line in words)
    assert any("not covered: validation and test subjects" in line for line in words)


def test_limits_name_the_people_of_a_public_cohort_where_no_source_is_private(content):
    taught = replace(public_knowledge(("pairs",)), not_covered=("people of the public cohort",))
    free = [source for source in content.sources if source.name in ("real", "sim")]
    alone = ReportContent(title="Free", sources=free, statements={"sim": taught})
    assert [line for line in limits(alone) if "people of the public cohort" in line]
    plain = replace(alone, statements={"sim": public_knowledge(("pairs",))})
    assert not [line for line in limits(plain) if "In the words of the statements" in line]


def test_guarantees_on_the_page_to_share_are_of_what_is_handed_out(content):
    public = [replace(source, kind="public") if source.name == "sim" else source for source in content.sources]
    page = {internal: [row["title"] for row in _guarantees(replace(content, sources=public), internal=internal)]
            for internal in (True, False)}  # fmt: skip
    assert "Title of sim" in page[True]
    assert "Title of sim" not in page[False]
    assert "Title of sim" in [row["title"] for row in _guarantees(content, internal=False)]
