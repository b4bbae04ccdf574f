import json
import statistics
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from angioshare.report.figures import score_figure
from angioshare.report.interactive import score_spec
from angioshare.report.scoreplot import score_plots


def test_every_record_of_a_metric_is_one_point_of_its_plot(content):
    for plot in score_plots(content):
        drawn = sorted(v for panel in plot.panels for g in panel for v in g.values if v is not None)
        assert drawn == sorted(
            r.value
            for r in content.records
            if r.stage == "evaluate" and r.metric == plot.metric.key and r.value is not None
        )


def test_undefined_scores_are_marked_beyond_all_defined_ones(content):
    plot = next(plot for plot in score_plots(content) if plot.metric.key == "bahd_mm")
    undefined = [group for panel in plot.panels for group in panel if group.undefined]
    assert [group.undefined for group in undefined] == [["sub-000"], ["sub-000"]]
    assert plot.limits[1] > plot.undefined_at > max(v for p in plot.panels for g in p for _, v in g.defined)


def test_distances_over_decades_get_a_logarithmic_axis_and_dice_never_does(content):
    scales = {plot.metric.key: plot.logarithmic for plot in score_plots(content)}
    assert scales == {"dice": False, "bahd_voxel": True, "bahd_mm": True}


def test_plotly_accepts_the_description_and_it_is_plain_json(content):
    for plot in score_plots(content):
        spec = score_spec(plot)
        go.Figure(spec)
        json.dumps(spec, allow_nan=False)


def test_plotly_and_paper_figure_show_the_same_points(content):
    plot = score_plots(content)[0]
    drawn = sorted(x for trace in score_spec(plot)["data"] if trace["type"] == "box" for x in trace["x"])
    assert drawn == sorted(v for panel in plot.panels for g in panel for _, v in g.defined)


def test_sources_of_one_title_keep_their_own_rows(content):
    twins = [replace(source, title="Twin") for source in content.sources]
    titles = [group.title for group in score_plots(replace(content, sources=twins))[0].panels[0]]
    assert len(set(titles)) == len(twins)


@pytest.mark.parametrize("title", ["a $\\frac$ b", "<b>%{x}</b>", "1.5"])
def test_a_title_is_only_a_title(content, title):
    sources = [replace(content.sources[0], title=title), *content.sources[1:]]
    plot = score_plots(replace(content, sources=sources))[0]
    assert score_figure(plot).data.startswith(b"<?xml")
    spec = score_spec(plot)
    named = json.dumps([[trace["name"], trace["y"]] for trace in spec["data"]])
    assert "<" not in named
    assert "%{" not in named
    assert spec["layout"]["yaxis"]["type"] == "category"


def test_words_give_the_median_of_each_source_and_site(content):
    values = [r.value for r in content.records if (r.trained_on, r.site, r.metric) == ("real", "home", "dice")]
    assert f"Title of real {statistics.median(values):.2f}" in score_plots(content)[0].words()
