"""The pages of a study: what the internal one shows, and that the other shows nothing unprotected."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from statistics import fmean, stdev

import pytest
from made_study import SITES, a_setting, made_study, with_records

from angioshare.errors import PrivacyError
from angioshare.report.content import ReportContent
from angioshare.report.study.content import StudyContent
from angioshare.report.study.page import internal_study_page, setting_rows, shareable_study_page
from angioshare.report.study.sharing import shareable_study, unprotected_in_study
from angioshare.report.study.threshold import thresholds

KEYS = ["figure-2", "figure-3", "figure-4", "figure-5", "figure-6", "figure-7", "figure-8", "figure-9", "figure-s1",
        "figure-s2", "tradeoff"]  # fmt: skip


class Reader(HTMLParser):
    """Collects tags, scripts that run, and text, as a browser would."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.text, self._open = [], [], "", None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs)) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open is None:
            self.text += data
        elif self._open[0] == "script" and "type" not in self._open[1]:
            self.scripts.append(data)

    @property
    def policy(self):
        return next(a["content"] for tag, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")


@pytest.fixture(scope="module")
def study():
    return made_study(seeds=2, missing={"plain-seed1": ["segment", "evaluate"]})


@pytest.fixture(scope="module")
def inside(study):
    return internal_study_page(study)


@pytest.fixture(scope="module")
def outside(study):
    return shareable_study_page(shareable_study(study))


def drawn(page):
    return [figure.key for figure in page.figures if figure.figure is not None]


def test_the_internal_page_draws_every_figure_that_has_data(inside):
    assert [figure.key for figure in inside.figures] == KEYS
    assert set(KEYS) - set(drawn(inside)) == {"figure-9", "figure-s1"}
    assert "INTERNAL: holds unprotected numbers" in Reader(inside.html).text


def test_the_shareable_page_draws_protected_pairs_and_their_likeness_alone(outside):
    assert drawn(outside) == ["figure-2", "figure-8"]
    assert "INTERNAL" not in outside.html


def test_the_shareable_page_names_no_score_subject_or_real_patch(study, inside, outside):
    text = Reader(outside.html).text
    for word in ("sub-0", "validation Dice", "ward-7", "Training is usable", "Table 1", *SITES):
        assert word in inside.html, f"{word} must stand on the internal page for this test to mean anything"
        assert word not in text
    captions = " ".join(figure.caption + figure.words for figure in outside.figures if figure.figure is not None)
    assert "Real patches" not in captions
    assert "WGAN without privacy" not in captions


def test_what_passed_the_filter_holds_nothing_unprotected(study):
    assert unprotected_in_study(study)
    assert unprotected_in_study(shareable_study(study)) == ()


def test_the_filter_says_what_it_left_out(outside):
    text = Reader(outside.html).text
    for words in ("evaluate: dice", "sample pairs of Real patches", "error maps (16)", "fidelity: fd_scattering_train"):
        assert words in text


@pytest.mark.parametrize("spoil", ["views", "records", "samples", "title"])
def test_the_shareable_page_refuses_whatever_is_unprotected(study, spoil):
    clean = shareable_study(study)
    spoilt = {
        "views": replace(clean, views=study.views[:1]),
        "records": with_records(clean, study.report.records[:1]),
        "samples": replace(clean, report=replace(clean.report, samples=study.report.samples[:1])),
        "title": replace(clean, settings=[*clean.settings, replace(a_setting("other"), title="made in /srv/clinic")]),
    }
    with pytest.raises(PrivacyError, match="unprotected"):
        shareable_study_page(spoilt[spoil])


def test_every_setting_states_its_guarantee_whole_on_both_pages(study, inside, outside):
    for page in (inside, outside):
        text = Reader(page.html).text
        for setting in study.settings:
            assert setting.statement.sentence() in text
        assert study.report.cohort_statement.sentence() in text


def test_every_caption_says_what_was_made_from_what_and_charts_how_many_seeds(inside):
    for figure in inside.figures:
        if figure.figure is None:
            continue
        assert "made from real patches of the training subjects" in figure.caption or figure.key == "figure-6"
        if figure.spec is not None:
            assert "2 seeds a setting" in figure.caption.lower()
    assert "network “scattering”" in next(one for one in inside.figures if one.key == "figure-6").caption


def test_published_numbers_are_labelled_with_the_epsilon_they_claimed(inside):
    text = Reader(inside.html).text
    for words in ("0.84", "0.88", "0.75", "0.69", "its epsilon 7.4 for one patch", "about 73 for one patch"):
        assert words in text


def test_the_page_says_what_is_missing(inside):
    text = Reader(inside.html).text
    assert "The study is not finished" in text
    assert "plain-seed1" in text
    assert "segment, evaluate" in text


def test_nothing_is_loaded_and_only_named_scripts_run(inside, outside):
    for page in (inside, outside):
        read = Reader(page.html)
        assert "default-src 'none'" in read.policy
        assert all(a.get("src", "data:").startswith("data:") and a.get("href", "#")[0] == "#" for _, a in read.tags)
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in read.scripts]
        assert re.search(r"script-src ([^;]*);", read.policy)[1].split() == (hashes or ["'none'"])
    assert Reader(outside.html).scripts == []


def test_every_picture_has_words(inside):
    pictures = [attributes for tag, attributes in Reader(inside.html).tags if tag == "img"]
    assert len(pictures) == len(drawn(inside))
    assert all(len(picture["alt"]) > 40 for picture in pictures)


def test_hostile_text_stays_text(study):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    settings = [replace(one, title=evil + one.name, family=evil) for one in study.settings[:1]]
    settings += [replace(one, family=evil) for one in study.settings if one.private]
    records = [replace(r, site=evil if r.site == SITES[0] else r.site) for r in study.report.records]
    report = replace(study.report, title=evil, records=records, sites=(evil, SITES[1]))
    page = Reader(internal_study_page(replace(study, report=report, settings=settings, missing={evil: [evil]})).html)
    assert all("onerror" not in attributes for _, attributes in page.tags)
    assert len(page.scripts) == 2


def test_a_study_of_which_nothing_is_done_is_still_a_page():
    settings = [replace(a_setting("private-1", noise=1.0), statement=None)]
    empty = StudyContent(report=ReportContent(title="Nothing yet", sources=[]), settings=settings,
                         missing={"private-1-seed0": ["prepare"]})  # fmt: skip
    for page in (internal_study_page(empty), shareable_study_page(shareable_study(empty))):
        assert "Nothing yet" in page.html
        assert drawn(page) == []
        assert all(figure.caption for figure in page.figures)


def test_table_2_has_mean_and_sd_over_seeds_and_a_verdict_for_private_settings(study):
    rows = {row.setting.name: row for row in setting_rows(study, thresholds(study))}
    assert set(rows) == {setting.name for setting in study.settings}
    for name, row in rows.items():
        means = study.seed_means(row.setting, "dice", SITES[0])
        assert row.cells[0]["dice"].mean == pytest.approx(fmean(means))
        assert row.cells[0]["dice"].sd == pytest.approx(stdev(means))
        assert (row.verdicts[0] is None) == (not name.startswith("private"))
    assert [rows[f"private-{n}"].verdicts[0].usable for n in range(1, 5)] == [True, True, False, False]


@pytest.fixture(scope="module")
def partly():
    """Of three seeds one was scored at noise 0.4, whose distance is undefined on one subject of each site; at noise
    0.8 one subject alone lifts the mean above the bar."""
    whole = made_study({0.4: 0.5, 0.8: 0.3}, rivals={"plain": 0.6, "simulator": 0.25})

    def changed(record):
        if (record.metric, record.subject[-1:]) == ("bahd_voxel", "0") and record.trained_on == "private-1-seed0":
            return replace(record, value=None)
        if record.metric == "dice" and record.trained_on.startswith("private-2"):
            return replace(record, value=0.9 if record.subject[-1] == "0" else 0.1)
        return record

    unscored = ("private-1-seed1", "private-1-seed2")
    kept = [r for r in whole.report.records if r.trained_on not in unscored or r.stage == "fidelity"]
    return replace(with_records(whole, map(changed, kept)), views=())


@pytest.fixture(scope="module")
def told_in_part(partly):
    return internal_study_page(partly)


def table_2(page):
    """Words of the cells of Table 2, by the name of the row."""
    table = page.html.partition("Table 2. Every setting")[2].partition("</table>")[0].partition("<tbody>")[2]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in table.split("</tr>")]
    return {row[0]: [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in row[1:]] for row in rows if row}


def test_seeds_are_those_with_scores(told_in_part):
    rows = table_2(told_in_part)
    assert rows["WGAN, noise multiplier 0.4"][0] == "1 of 3"
    assert rows["WGAN, noise multiplier 0.8"][0] == "3"


def test_captions_count_the_seeds_that_have_what_their_figure_shows(told_in_part):
    captions = {figure.key: figure.caption for figure in told_in_part.figures}
    for key in ("figure-3", "figure-5", "tradeoff"):
        assert "1 to 3 seeds a setting" in captions[key].lower()
    for key in ("figure-6", "figure-8"):
        assert "(3 seeds a setting)" in captions[key]


def test_table_2_counts_every_undefined_score_of_every_seed(partly, told_in_part):
    row = next(row for row in setting_rows(partly, thresholds(partly)) if row.setting.name == "private-1")
    assert [(cells["bahd_voxel"].undefined, cells["bahd_voxel"].n) for cells in row.cells] == [(1, 2), (1, 3)]
    at_home, away = (table_2(told_in_part)["WGAN, noise multiplier 0.4"][place] for place in (4, 7))
    assert at_home.endswith(" undefined for 1 of 2 scores")
    assert away.endswith(" undefined for 1 of 3 scores")


def test_undefined_scores_are_summed_over_seeds():
    whole = made_study({1.0: 0.5}, rivals={"plain": 0.6})
    lost = [replace(r, value=None) if (r.metric, r.subject) == ("bahd_voxel", "sub-11") else r
            for r in whole.report.records]  # fmt: skip
    for row in setting_rows(with_records(whole, lost), []):
        home, away = (cells["bahd_voxel"] for cells in row.cells)
        assert (home.undefined, home.n, away.undefined, away.n) == (0, 6, 3, 9)


def test_table_2_marks_what_is_usable_by_its_mean_alone(told_in_part):
    rows = table_2(told_in_part)
    assert rows["WGAN, noise multiplier 0.4"][5] == "yes"
    assert rows["WGAN, noise multiplier 0.8"][5] == "yes by its mean alone"
    assert "At noise 0.8 it is usable by its mean alone" in Reader(told_in_part.html).text
