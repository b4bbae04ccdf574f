import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from angioshare.report.content import ReportContent
from angioshare.report.page import internal_page, shareable_page
from angioshare.report.sharing import shareable


class Reader(HTMLParser):
    """Collects what a browser would see: tags with their attributes, text of scripts and styles, and other text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.raw, self.text, self._open = [], [], "", ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open in ("script", "style"):
            self.raw.append((self._open, self.tags[-1][1], data))
        else:
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def internal_text(content):
    return internal_page(content)


@pytest.fixture(scope="module")
def internal(internal_text):
    return Reader(internal_text)


@pytest.fixture(scope="module")
def shared(content):
    return Reader(shareable_page(shareable(content)))


def policy(page):
    return next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")


def hash_of(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_only_the_internal_page_carries_the_banner(internal, shared):
    assert "INTERNAL: holds unprotected numbers and pictures, do not share" in internal.text
    assert "INTERNAL" not in shared.text


def test_shareable_page_shows_no_score_subject_loss_or_time(shared):
    for word in ("sub-0", "true positive", "critic loss", "Wall time", "validation Dice", "ward-7", "clinic"):
        assert word not in shared.text
    assert len(shared.all("img")) == 2


def test_both_pages_state_every_statement_whole(content, internal, shared):
    for page in (internal, shared):
        for statement in [content.statements[n] for n in ("quiet", "loud", "sim")] + [content.cohort_statement]:
            assert statement.sentence() in page.text


def test_both_pages_show_published_numbers_and_limits(internal, shared):
    for page in (internal, shared):
        assert "What this does not protect" in page.text
        assert all(number in page.text for number in ("0.84", "0.88", "0.75", "0.69", "Kossen"))


def test_shareable_page_says_what_was_left_out(shared):
    assert "What was left out" in shared.text
    assert "sample pairs of pairs of plain" in shared.text


def test_nothing_is_loaded_from_anywhere(internal, shared):
    for page in (internal, shared):
        assert "default-src 'none'" in policy(page)
        for _, attrs in page.tags:
            address = attrs.get("src", "data:")
            assert address.startswith("data:")
            assert attrs.get("href", "#").startswith("#")
        assert not page.all("link")
        assert not page.all("iframe")


def test_policy_names_every_script_that_runs_by_its_hash(internal):
    running = [text for tag, attrs, text in internal.raw if tag == "script" and "type" not in attrs]
    assert len(running) == 2
    assert re.search(r"script-src ([^;]*);", policy(internal))[1].split() == [hash_of(text) for text in running]


def test_shareable_page_runs_no_script_and_names_its_style(shared):
    assert not shared.all("script")
    assert "script-src 'none'" in policy(shared)
    assert next(hash_of(text) for tag, _, text in shared.raw if tag == "style") in policy(shared)
    assert not any("style" in attrs for _, attrs in shared.tags)


def test_plots_have_no_button_that_sends_data_away(internal):
    script = next(text for _, attrs, text in internal.raw if "Plotly.newPlot(live" in text)
    assert 'modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]]' in script


def test_every_picture_has_words_and_every_table_header_a_scope(internal):
    assert all(len(img["alt"]) > 20 for img in internal.all("img"))
    assert all("scope" in th for th in internal.all("th"))


def test_hostile_text_stays_text(content):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    records = [replace(r, site=evil if r.site == "home" else r.site, subject=evil + r.subject) for r in content.records]
    sources = [replace(source, title=evil + source.name, trained_on=evil) for source in content.sources]
    hostile = replace(
        content, title=evil, settings_toml=evil, sites=(evil, "away"), records=records, sources=sources,
        environment={evil: evil},
    )  # fmt: skip
    page = Reader(internal_page(hostile))
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert len([1 for tag, attrs, _ in page.raw if tag == "script" and "type" not in attrs]) == 2


def test_an_empty_report_is_still_a_page():
    empty = ReportContent(title="Nothing yet", sources=[])
    assert "Nothing yet" in internal_page(empty)
    assert "Nothing yet" in shareable_page(empty)


def test_pages_are_the_same_text_every_time(content, internal_text):
    assert internal_page(content) == internal_text


def test_internal_page_stays_below_eight_megabytes(internal_text):
    assert len(internal_text) < 8_000_000


def test_undefined_scores_are_counted_in_the_table(internal):
    assert "undefined on 1 of 4" in internal.text
