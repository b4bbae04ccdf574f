from dataclasses import replace

import pytest

from angioshare.errors import PrivacyError
from angioshare.records import Record
from angioshare.report.page import shareable_page
from angioshare.report.sharing import shareable, telling, unprotected_items

from .conftest import a_statement, some_samples


def test_what_the_filter_lets_through_holds_nothing_unprotected(content):
    assert unprotected_items(content)
    assert unprotected_items(shareable(content)) == ()


def test_filter_keeps_private_and_public_samples_and_drops_real_and_non_private_ones(content):
    assert [samples.source for samples in shareable(content).samples] == ["quiet", "sim"]


def test_filter_drops_the_public_cohorts_own_scans_whose_licence_nobody_has_read(content):
    sources = [replace(source, kind="public") if source.name == "sim" else source for source in content.sources]
    assert [samples.source for samples in shareable(replace(content, sources=sources)).samples] == ["quiet"]


def test_filter_says_what_it_left_out(content):
    words = " ".join(shareable(content).left_out)
    for part in ("evaluate: dice (48 numbers)", "pairs of real", "error maps (1)", "training curves (1)", "host"):
        assert part in words


def test_filter_drops_settings_that_tell_of_a_machine_or_a_subject(content):
    settings = shareable(content).settings_toml
    assert "clinic" not in settings
    assert "sub-000" not in settings
    assert "seed = 1" in settings
    assert "steps = 20" in settings


@pytest.mark.parametrize("metric", ["wall_time", "peak_memory"])
def test_no_cost_leaves_whatever_its_provenance_says(content, metric):
    timed = Record(stage="train", metric=metric, value=30.0, provenance="public")
    clean = shareable(replace(content, records=(*content.records, timed), stage_seconds={}))
    assert not [record for record in clean.records if record.metric == metric]
    assert f"train: {metric} (1 numbers)" in clean.left_out
    with pytest.raises(PrivacyError):
        shareable_page(replace(clean, records=(*clean.records, timed)))


@pytest.mark.parametrize("path", ["/srv/a", "~/a", "C:\\a", "\\\\server\\a", "file:///srv/a"])
def test_every_sort_of_absolute_path_counts_as_one(content, path):
    clean = shareable(content)
    assert unprotected_items(replace(clean, settings_toml=f"folder = '{path}'"))
    assert unprotected_items(replace(clean, title=f"Results in {path}"))


@pytest.mark.parametrize(
    "title",
    [
        "Pilot, ~20 subjects",
        "Siemens /GE scanners",
        "Utility (/epsilon)",
        "~half",
        "sub-sampled",
        "T1/T2",
        "sub-0.5 mm",
        "Sub-3T",
    ],
)
def test_a_harmless_title_is_no_path_and_no_subject(content, title):
    assert telling([title], ["sub-000"]) == []
    assert shareable_page(shareable(replace(content, title=title)))


@pytest.mark.parametrize(
    "title", ["/srv/a b", "in /srv/", "~anna/x", "~/x", "see ../a", "C:/a", "//ward/a", "(a:/b/c)"]
)
def test_a_path_in_a_title_is_found(title):
    assert telling([title]) == [title]


@pytest.mark.parametrize(
    "said", ["sub-A0", "SUB-A0", "sub_a0", "Run(sub-12)", "without sub-Anna", "sub anna", "subAnna"]
)
@pytest.mark.parametrize("where", ["title", "sources", "sites"])
def test_a_subject_in_a_text_keeps_the_page_from_being_written(content, said, where):
    renamed = replace(content.sources[2], title=said)
    changes = {"title": said, "sources": [*content.sources[:2], renamed, *content.sources[3:]], "sites": ("home", said)}
    records = [replace(record, provenance="public", site=said if record.site == "away" else record.site)
               for record in content.records]  # fmt: skip
    anna = Record(stage="evaluate", metric="dice", value=1.0, subject="sub-Anna")
    told = replace(content, records=[*records, anna], **{where: changes[where]})
    with pytest.raises(PrivacyError, match="a path or a subject in a title"):
        shareable_page(shareable(told))


@pytest.mark.parametrize(
    "line",
    [
        'file = "../anna/split.json"',
        "file = 'anna.json'",
        'features = "nets/anna.pt"',
        'features = "3anna.pt"',
        'set = ["split.file=anna.json"]',
        '    "evaluation.features=anna.pt",',
        '    "evaluation.features=\\"anna.pt\\"",',
        'split = { file = "anna.json" }',
        'config = "anna.toml"',
        'who = "SUB-anna"',
        'who = "sub_anna"',
        'who = "./anna"',
    ],
)
def test_settings_that_name_a_file_or_a_subject_are_left_out(content, line):
    clean = shareable(replace(content, settings_toml=f"seed = 1\n{line}\nsteps = 2"))
    assert clean.settings_toml.splitlines()[::2] == ["seed = 1", "steps = 2"]
    assert "anna" not in clean.settings_toml
    assert unprotected_items(replace(clean, settings_toml=line))


@pytest.mark.parametrize("name", ["scattering", "inception"])
def test_settings_that_name_no_file_stay(content, name):
    kept = f'features = "{name}"\n"settings.features" = [\n"evaluation.features={name}",\nfeatures = 16\nprofile = 1'
    assert shareable(replace(content, settings_toml=kept)).settings_toml == kept


def test_fractions_and_plain_words_are_no_paths(content):
    assert not unprotected_items(replace(shareable(content), settings_toml="q = '32/41000'  # and/or, dp-accounting"))


@pytest.mark.parametrize(
    "unprotected",
    [
        {"records": [Record(stage="train", metric="critic_loss", value=1.0, provenance="unprotected")]},
        {"records": [Record(stage="train", metric="x", value=1.0, trained_on="plain", provenance="dp")]},
        {"records": [Record(stage="evaluate", metric="dice", value=1.0, trained_on="quiet", provenance="dp")]},
        {"samples": [some_samples("plain", "unprotected")]},
        {"samples": [some_samples("plain", "dp", None)]},
        {"samples": [some_samples("quiet", "dp", a_statement(caveats=("not private: seeded noise",)))]},
        {"samples": [some_samples("real", "public")]},
        {"samples": [some_samples("shuffled", "dp", a_statement())]},
        {"environment": {"host": "ward-7"}},
        {"stage_seconds": {"train": 1.0}},
    ],
    ids=lambda change: "-".join(change),
)
def test_shareable_page_refuses_whatever_is_unprotected(content, unprotected):
    with pytest.raises(PrivacyError, match="unprotected"):
        shareable_page(replace(shareable(content), **unprotected))


def test_shareable_page_refuses_curves_and_error_maps(content):
    for name in ("curves", "error_maps"):
        with pytest.raises(PrivacyError, match="unprotected"):
            shareable_page(replace(shareable(content), **{name: getattr(content, name)}))


def test_public_scores_may_stay(content):
    public = [replace(record, provenance="public") for record in content.records]
    clean = shareable(replace(content, records=public))
    assert len(clean.records) == len(public)
    assert tuple(clean.sites) == ("home", "away")
