"""What the figures of a study show, as data: every number once, and the same drawn and to hover over."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from made_study import NOISY, SITES, a_statement, an_error_view, made_study, with_records
from matplotlib.backends.backend_agg import FigureCanvasAgg

from angioshare.report.study.captions import caption_6, caption_8, caption_tradeoff
from angioshare.report.study.charts import Group, Series, beside_each_other, extent, spaced, value_axis
from angioshare.report.study.draw import chart_figure
from angioshare.report.study.fidelity import figure_6, figure_8, networks
from angioshare.report.study.hover import chart_spec
from angioshare.report.study.pictures import figure_2, figure_4, heading, sampled, strictest, viewed
from angioshare.report.study.places import along, colours, epsilon_label, place, side_by_side
from angioshare.report.study.scores import figure_3, figure_5
from angioshare.report.study.tradeoff import figure_tradeoff


@pytest.fixture(scope="module")
def study():
    return made_study()


def groups_of(panel, look=None):
    return [group for series in panel.series if look in (None, series.look) for group in series.groups]


def dice_records(content, site):
    return [r for r in content.report.records if (r.stage, r.metric, r.site) == ("evaluate", "dice", site)]


def test_every_record_of_a_point_is_in_the_box_plots_data_once(study):
    for site in SITES:
        shown = [
            (one.point, subject, value)
            for setting in study.settings
            for one in study.spread(setting, "dice", site)
            for subject, value in zip(one.subjects, one.values, strict=True)
        ]
        assert Counter(shown) == Counter((r.trained_on, r.subject, r.value) for r in dice_records(study, site))


def test_the_box_plot_has_one_number_for_every_point_the_mean_of_its_subjects(study):
    panel = figure_3(study).rows[0][0]
    points = [point for setting in study.settings for point in setting.points]
    wanted = [fmean(r.value for r in dice_records(study, SITES[0]) if r.trained_on == point) for point in points]
    found = [value for group in groups_of(panel) for value in group.values]
    assert sorted(found) == pytest.approx(sorted(wanted))


def test_the_trade_off_has_every_private_point_once_in_each_panel(study):
    for row in figure_tradeoff(study).rows:
        for panel in row:
            names = [name for group in groups_of(panel, "box") for name in group.names]
            assert Counter(names) == Counter({f"seed {seed}": len(NOISY) for seed in range(3)})


def test_a_point_that_was_not_evaluated_is_in_no_figure_and_moves_no_other(study):
    lost = "private-1-seed2"
    fewer = with_records(study, [r for r in study.report.records if r.trained_on != lost])
    before, after = (groups_of(figure_3(each).rows[0][0]) for each in (study, fewer))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old.values != new.values]
    assert len(changed) == 1
    assert changed[0][1].values == changed[0][0].values[:2]


def test_rivals_are_lines_at_their_mean_over_seeds(study):
    lines = {line.title: line.y for line in figure_tradeoff(study).rows[0][0].lines}
    wanted = fmean(study.seed_means(study.settings[0], "dice", SITES[0]))
    assert lines["Real patches (mean over seeds)"] == pytest.approx(wanted)
    assert len([title for title in lines if title.endswith("(mean over seeds)")]) == 4


def test_the_best_run_is_chosen_by_validation_subjects_and_shown_with_its_own_subjects(study):
    setting = study.settings[0]
    assert study.best_point(setting) == "real-seed2"
    panel = figure_3(study).rows[1][0]
    group = next(g for series in panel.series if series.title == setting.title for g in series.groups)
    assert group.values == study.spread(setting, "dice", SITES[0])[2].values


def test_undefined_scores_are_marked_and_left_out_of_means():
    study = made_study({1.0: 0.0}, spread=0.0)
    panel = figure_3(study).rows[2][0]
    group = next(group for group in groups_of(panel) if group.undefined)
    assert group.defined == []
    assert panel.undefined_at is not None
    assert panel.y.limits[0] < panel.undefined_at < panel.y.limits[1]
    chart_figure(figure_3(study))


def test_every_number_lies_within_its_axis(study):
    for chart in (figure_3(study), figure_5(study), figure_6(study, "scattering"), figure_8(study)):
        for (panel,) in chart.rows:
            values = [value for group in groups_of(panel) for _, value in group.defined]
            means = [group.summary for group in groups_of(panel, "mean")]
            values += [one.mean + sign * one.sd for one in means for sign in (-1, 1)]
            assert panel.y.limits[0] <= min(values)
            assert max(values) <= panel.y.limits[1]


def test_what_is_hovered_over_is_what_is_drawn(study):
    for chart in (figure_3(study), figure_6(study, "scattering"), figure_8(study), figure_tradeoff(study)):
        spec = json.loads(json.dumps(chart_spec(chart), allow_nan=False))
        shown = [y for trace in spec["data"] if "text" in trace for y in trace["y"]]
        groups = [group for row in chart.rows for panel in row for group in groups_of(panel)]
        assert sorted(shown) == sorted(value for group in groups for _, value in group.defined)
        lines = [trace for trace in spec["data"] if trace.get("mode") == "lines"]
        assert len(lines) == sum(len(panel.lines) for row in chart.rows for panel in row)


def test_a_printed_chart_has_a_panel_for_each_and_names_each_series_once(study):
    figure = chart_figure(figure_tradeoff(study))
    assert len(figure.axes) == 2 * 3
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(set(words)) == len(words)
    assert "WGAN, with noise" in words


def test_the_shaded_part_holds_the_unusable_settings_and_no_other(study):
    for panel in figure_tradeoff(study).rows[0]:
        (band,) = panel.bands
        shaded = [group.summary.mean for group in groups_of(panel, "box") if band.low <= group.x <= band.high]
        others = [group.summary.mean for group in groups_of(panel, "box") if group.x > band.high]
        assert max(shaded) < 0.3 < min(others)


def test_all_is_shaded_where_the_usable_settings_have_no_place():
    study = made_study({0.4: 0.5, 0.8: 0.1})
    unbounded = a_statement(9.0, np.inf)
    settings = [replace(one, statement=unbounded) if one.name == "private-1" else one for one in study.settings]
    _, patch, subject = figure_tradeoff(replace(study, settings=settings)).rows[0]
    assert subject.bands[0].high == subject.x.limits[1]
    assert patch.bands[0].high < patch.x.limits[1]


def test_numeric_axes_rise_with_what_is_revealed(study):
    private = study.with_role("private")
    assert [setting.noise_multiplier for setting in private] == sorted(NOISY, reverse=True)
    for scale in ("noise", "patch", "subject"):
        _, places = along(private, scale)
        found = [places[setting.name] for setting in private]
        assert found == sorted(found)


def test_both_epsilons_stand_below_every_place(study):
    axis, _ = side_by_side(study.with_role("private", "simulator", "real"))
    labels = [label.split("\n") for _, label in axis.ticks]
    assert labels[0] == ["2", "1", "1,000"]
    assert labels[-2:] == [["real", "∞", "∞"], ["simulator", "0", "0"]]


def test_two_that_cost_no_privacy_are_told_apart(study):
    alone = next(one for one in study.settings if one.role == "simulator")
    reader = replace(alone, name="reader", title="Untaught reader", synthesizer="untaught-reader")
    both = [alone, reader]
    labels = [label.split("\n")[0] for _, label in side_by_side(both)[0].ticks]
    assert labels == ["simulator", "untaught"]
    shades = colours(replace(study, settings=[*study.settings, reader]))
    assert len({shades["reader"], shades[alone.name], shades["real"]}) == 3


@pytest.mark.parametrize("epsilon", [0.0123456, 3.14159, 999.4, 99_999.0, 123_456.7, 4.0001e7, 9.999e9])
def test_a_tick_never_shows_less_than_the_bound_nor_much_more(epsilon):
    shown = float(epsilon_label(epsilon).replace(",", ""))
    assert epsilon <= shown <= 1.011 * epsilon


def test_a_setting_without_a_finite_bound_has_no_place_and_the_caption_says_so(study):
    settings = [
        replace(one, statement=a_statement(1.0, np.inf)) if one.name == "private-1" else one for one in study.settings
    ]
    unbounded = replace(study, settings=settings)
    _, places = along(unbounded.with_role("private"), "subject")
    assert "private-1" not in places
    assert "WGAN, noise multiplier 0.4" in caption_tradeoff(unbounded)
    assert "not on it" not in caption_tradeoff(study)


def test_no_distance_is_called_fid_but_that_of_the_fid_inception(study):
    assert networks(study) == ["scattering"]
    chart = figure_6(study, "scattering")
    assert "FID" not in chart.words + json.dumps(chart_spec(chart))
    assert "cannot be compared with FD-scattering" in caption_6(study, "scattering")


def test_the_difference_of_real_patches_is_what_copying_gives_and_no_mark_to_reach(study):
    words = caption_6(study, "scattering")
    assert "the simulator) shows in B what chance and the choice of subjects give" in words
    assert "in B, what copying the training subjects gives" in words
    assert "above that of real patches" not in words
    page = Path(__file__).parents[2] / "docs" / "concepts" / "metrics.md"
    row = next(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `fid_difference`"))
    assert row.split("|")[-2].strip() == "near that of `simulator`"


def test_captions_of_fidelity_count_the_seeds_that_have_the_number(study):
    lost = ("private-1-seed1", "private-1-seed2")
    fewer = with_records(study, [r for r in study.report.records if r.stage != "fidelity" or r.trained_on not in lost])
    for content, seeds in ((study, "3 seeds"), (fewer, "1 to 3 seeds")):
        for caption in (caption_6(content, "scattering"), caption_8(content)):
            assert f"({seeds} a setting)" in caption


def test_published_fid_stands_beside_ours_at_the_same_noise_and_only_for_the_same_network():
    study = made_study({2.0: 0.1, 0.8: 0.3, 0.65: 0.4}, network="inception")
    assert networks(study) == ["inception"]
    marks = groups_of(figure_6(study, "inception").rows[0][0], "mark")
    assert sorted(group.values[0] for group in marks) == [62.0, 228.0, 244.0]
    _, places = side_by_side(study.with_role("private", "non-private", "real", "simulator"))
    assert {group.x for group in marks} == {places["private-2"], places["private-3"], places["plain"]}


def test_published_marks_name_their_epsilon_and_have_none_for_a_subject(study):
    noise, patch, subject = figure_tradeoff(study).rows[0]
    assert groups_of(noise, "mark")[0].x == place(0.65, "noise")
    assert groups_of(patch, "mark")[0].x == place(7.4, "patch")
    assert groups_of(subject, "mark") == []
    assert any("its epsilon 7.4 for one patch" in series.title for series in patch.series)


def test_a_third_site_has_no_published_numbers():
    study = made_study({1.0: 0.5}, sites=(*SITES, "site-3"))
    rows = figure_tradeoff(study).rows
    assert [any("published" in line.title for line in row[0].lines) for row in rows] == [True, True, False]


def test_several_families_have_colours_and_bands_of_their_own():
    study = made_study()
    other = [replace(one, family="Other") if one.name in ("private-1", "private-3") else one for one in study.settings]
    panel = figure_tradeoff(replace(study, settings=other)).rows[0][0]
    boxes = {series.title: series.colour for series in panel.series if series.look == "box"}
    assert set(boxes) == {"WGAN, with noise", "Other, with noise"}
    assert len(set(boxes.values())) == 2
    assert {band.colour for band in panel.bands} <= set(boxes.values())


def test_samples_are_of_the_first_seed_whatever_was_measured(study):
    later = [replace(one, source=one.source.replace("seed0", "seed1")) for one in study.report.samples]
    study = replace(study, report=replace(study.report, samples=[*later, *study.report.samples]))
    assert [samples.source for _, samples in sampled(study)] == [setting.points[0] for setting, _ in sampled(study)]


def test_error_maps_of_one_figure_are_of_one_subject(study):
    stray = an_error_view("real-seed2", SITES[0], np.random.default_rng(0), subject="sub-99")
    shown = viewed(replace(study, views=[stray, *study.views]), SITES[0])
    assert {view.subject for _, view in shown} == {"sub-00"}
    assert len(shown) == len(study.settings)


def test_the_slices_of_an_error_map_do_not_depend_on_what_was_found(study):
    views = [view for view in study.views if view.site == SITES[0]]
    assert len({(view.large.number, view.small.number) for view in views}) == 1
    assert views[0].large.number != views[0].small.number
    assert len({view.large.classes.tobytes() for view in views}) > 1


def test_figure_s2_shows_the_settings_with_most_noise(study):
    assert [setting.noise_multiplier for setting, _ in strictest(study, SITES[1])] == [2.0, 1.2, 0.8]


def test_whiskers_count_as_drawn_where_there_are_any():
    group = Group(x=0.0, names=("a", "b"), values=(0.0, 1.0))
    for look, reach in (("mean", 0.5 + 0.5**0.5), ("box", 1.0)):
        assert max(extent([Series(title="", colour="", groups=(group,), look=look)])) == pytest.approx(reach)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_equal_numbers_are_spread_evenly_around_their_place(count):
    shifts = beside_each_other(count)
    assert len(set(shifts)) == count
    assert sum(shifts) == pytest.approx(0)
    assert max(map(abs, shifts)) < 0.5


def test_kept_ticks_are_as_far_apart_as_they_must_be():
    kept = [at for at, _ in spaced([(at, "x") for at in np.linspace(0, 1, 50)], 0.1)]
    assert min(np.diff(kept)) >= 0.1
    assert kept[0] == 0


@pytest.mark.parametrize(("numbers", "logarithmic"), [([0.1, 50.0], True), ([1.0, 3.0], False), ([-1.0, 50.0], False)])
def test_distances_far_apart_stand_on_a_logarithmic_axis(numbers, logarithmic):
    axis, _ = value_axis("d", numbers, share=False, missing=False, positive=min(numbers) > 0)
    assert axis.logarithmic == logarithmic
    assert axis.limits[0] <= min(numbers)
    assert axis.limits[1] >= max(numbers)


@pytest.mark.parametrize("count", [2, 10])
def test_words_above_pictures_do_not_run_into_each_other(count):
    made = made_study({round(0.4 + number / 7, 6): 0.4 for number in range(count)})
    long = [
        replace(one, family="Calibrated simulator (subject)") if one.role == "private" else one for one in made.settings
    ]
    for figure in (figure_2(replace(made, settings=long)), figure_4(replace(made, settings=long))):
        FigureCanvasAgg(figure).draw()
        boxes = [axes._left_title.get_window_extent() for axes in figure.axes if axes.get_title(loc="left")]
        assert len(boxes) == count + 4
        assert not [1 for n, one in enumerate(boxes) for other in boxes[n + 1 :] if one.overlaps(other)]
        assert max(box.x1 for box in boxes) <= figure.bbox.width + 1


def test_the_noise_above_a_picture_has_four_digits_and_the_whole_name_stands(study):
    private = next(setting for setting in study.settings if setting.role == "private")
    words = heading(replace(private, family="Calibrated simulator (subject)", noise_multiplier=3.730851))
    assert words.splitlines()[:3] == [
        "Calibrated simulator",
        "(subject), noise\N{NO-BREAK SPACE}3.731",
        "epsilon 25.0 (patch)",
    ]
    longer = heading(replace(private, family="Calibrated simulator (subject)", noise_multiplier=0.97143))
    assert longer.splitlines()[1:3] == ["(subject),", "noise\N{NO-BREAK SPACE}0.9714"]
