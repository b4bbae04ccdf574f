"""Whoever is measured on is read before anything is spent, and must stay what was read."""

import shutil

import numpy as np
import pytest
from phantoms import phantom

from angioshare.cohort.cohort import open_cohort
from angioshare.cohort.nifti import write_volume
from angioshare.cohort.volume import Volume
from angioshare.cohort.writer import write_bids_cohort
from angioshare.config import parse_config
from angioshare.errors import DataError
from angioshare.patches.store import open_store
from angioshare.progress import SilentProgress
from angioshare.stages import fidelity, inputs, maps
from angioshare.stages.folder import make_folder, planned_run
from angioshare.stages.inputs import noted
from angioshare.stages.prepare import prepare, split_of

SETTINGS = """
[split]
validation = 1
test = 1
[patches]
size = 16
vessel = 4
random = 4
allow_fewer = true
[[sources]]
name = "real"
synthesizer = "real"
pairs = 4
[evaluation]
fidelity_patches = 3
"""


def cohort_at(root, site, letter, count, seed=0):
    rng = np.random.default_rng([seed, ord(letter)])
    write_bids_cohort(root, site, (phantom(rng, f"{letter}{index}") for index in range(count)))
    return root


@pytest.fixture
def begun(tmp_path):
    """Begin a run of five subjects, and second sites that are given; nothing was prepared."""
    cohort = cohort_at(tmp_path / "A", "A", "A", 5)

    def begin(*second, settings=SETTINGS):
        config = parse_config(settings, name="test")
        return make_folder(planned_run(tmp_path / "run", config, cohort, second, state=tmp_path / "state"))

    return begin


def write_label(subject, change):
    loaded = subject.load()
    write_volume(subject.label_path, Volume(change(loaded.label.copy()), loaded.spacing_mm, loaded.affine))


@pytest.mark.parametrize("name", ["sub-A3", "sub-A4", "sub-B0"])
def test_a_label_that_cannot_be_used_is_told_before_anything_is_cut(begun, tmp_path, name):
    second = cohort_at(tmp_path / "B", "B", "B", 1)
    run = begun(second)
    place = second if name.startswith("sub-B") else run.cohort
    write_label(open_cohort(place).subject(name), np.zeros_like)
    with pytest.raises(DataError, match=rf"{name}.*is empty"):
        prepare(run, SilentProgress())
    assert not (run.private / "patches").exists()


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_label_that_was_changed_since_is_refused_where_it_is_read(begun, part):
    run = begun()
    prepare(run, SilentProgress())
    cohort, split = split_of(run)
    (subject,) = noted(run, 0, [cohort.subject(name) for name in getattr(split, part)])
    subject.load()

    def one_voxel_less(label):
        label[tuple(np.argwhere(label)[0])] = 0
        return label

    write_label(subject.subject, one_voxel_less)
    with pytest.raises(DataError, match=rf"{subject.id}.*changed since the run began.*begin anew"):
        subject.load()


def test_a_training_scan_that_was_copied_over_a_test_scan_is_refused_by_every_reader(begun, tmp_path):
    run = begun(cohort_at(tmp_path / "B", "B", "B", 1))
    prepare(run, SilentProgress())
    cohort, split = split_of(run)
    old, new = (cohort.subject(part[0]) for part in (split.test, split.train))
    shutil.copy(new.angio_path, old.angio_path)
    shutil.copy(new.label_path, old.label_path)
    with pytest.raises(DataError, match="changed since the run began"):
        maps.test_sites(run)[0].subjects[0].load()
    with pytest.raises(DataError, match="changed since the run began"):
        fidelity.prepare_references(run, SilentProgress())
    maps.test_sites(run)[1].subjects[0].load()


def test_a_run_that_noted_nothing_is_read_as_it_is(begun):
    run = begun()
    prepare(run, SilentProgress())
    (run.private / inputs.INPUTS).unlink()
    cohort, split = split_of(run)
    (subject,) = noted(run, 0, [cohort.subject(split.test[0])])
    write_label(subject.subject, np.ones_like)
    subject.load()


def test_every_test_site_has_a_name_of_its_own(begun, tmp_path):
    unnamed, namesake = cohort_at(tmp_path / "A (2)", "B", "B", 1), cohort_at(tmp_path / "C", "A", "C", 1)
    (unnamed / "participants.tsv").unlink()
    run = begun(unnamed, namesake)
    prepare(run, SilentProgress())
    assert [site.name for site in maps.test_sites(run)] == ["A", "A (2)", "A (3)"]


def test_a_second_site_that_is_given_twice_is_refused(begun, tmp_path):
    second = cohort_at(tmp_path / "B", "B", "B", 1)
    with pytest.raises(DataError, match=r"sub-B0 is the same scan as sub-B0"):
        prepare(begun(second, second), SilentProgress())


@pytest.mark.parametrize("wanted", [3, 1000])
def test_both_references_of_a_distance_are_of_one_size(begun, wanted):
    run = begun(settings=SETTINGS.replace("fidelity_patches = 3", f"fidelity_patches = {wanted}"))
    prepare(run, SilentProgress())
    fidelity._write_test_patches(run, SilentProgress())
    training, others = fidelity._training_images(run)
    there = min(len(open_store(run.private / "patches")) // 2, len(open_store(run.private / "test-patches")))
    assert len(training) == len(others) == len(fidelity._test_images(run)) == min(wanted, there)


@pytest.mark.parametrize("text", ["{}", '{"sites": []}', '{"sites": [[]]}', '{"sites": 5}'])
def test_damaged_notes_are_told(begun, text):
    run = begun()
    prepare(run, SilentProgress())
    (run.private / inputs.INPUTS).write_text(text)
    with pytest.raises(DataError, match=r"inputs\.json is damaged"):
        maps.test_sites(run)
