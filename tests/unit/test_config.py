import numpy as np
import pytest
from phantoms import phantom

from angioshare.cohort.writer import write_bids_cohort
from angioshare.config import load_config, parse_config, preset_names, to_toml
from angioshare.errors import SettingsError
from angioshare.stages.pipeline import check_sources
from angioshare.stages.run import Run
from angioshare.synthesis.diffusion import DiffusionSettings

SMALL = 'sources = [{name = "a", synthesizer = "wgan"}]'


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_survives_a_round_trip(name):
    config = load_config(preset=name)
    assert parse_config(to_toml(config), name="copy") == config


@pytest.mark.parametrize("name", preset_names())
def test_sources_of_every_preset_can_be_built(name, tmp_path):
    config = load_config(preset=name)
    run = Run(tmp_path / "run", config, tmp_path, (), None, tmp_path)
    check_sources(run)
    assert {"real", "simulator"} <= {source.synthesizer for source in config.sources}  # the ceiling and the bar


def test_the_diffusion_presets_differ_in_size_alone():
    large, tiny = ({s.name: s for s in load_config(preset=name).sources} for name in ("diffusion", "diffusion-tiny"))
    assert list(large) == list(tiny)
    assert large["diffusion"].privacy == tiny["diffusion"].privacy
    assert not large["diffusion"].settings  # its defaults are the large form
    assert tiny["diffusion"].settings["features"] < DiffusionSettings().features


def test_the_faithful_preset_holds_the_published_numbers():
    config = load_config(preset="kossen2022")
    assert (config.patches.size, config.patches.vessel, config.patches.random) == (96, 500, 500)
    assert (config.split.validation, config.split.test) == (11, 14)
    unet = config.segmentation
    assert (unet.batch, unet.learning_rates, unet.dropouts) == (64, (1e-4, 8e-5), (0.0, 0.1))


def test_a_change_reaches_a_source_by_name_and_by_number():
    for key in ("sources.a.pairs", "sources.0.pairs"):
        assert parse_config(SMALL, name="t", changes=[f"{key}=7"]).sources[0].pairs == 7


@pytest.mark.parametrize(
    ("text", "change", "said"),
    [
        (SMALL, "patches.vesel=3", "patches.vesel: unknown key"),
        (SMALL, "patches.vessel=-3", "value -3"),
        (SMALL, "novalue", "key=value"),
        (SMALL, "sources.b.pairs=1", "choose one of"),
        (SMALL, "title.x=1", "title"),
        (SMALL, "sources.a.privacy={unit='patch'}", "exactly one of noise_multiplier and epsilon"),
        ("sources = [", "title=x", "no TOML"),
        (SMALL + "\nthreads = 1", "sources.a.name='../x'", "sources.0.name"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(text, change, said):
    with pytest.raises(SettingsError, match=said.replace("(", r"\(")):
        parse_config(text, name="file.toml", changes=[change])


def test_two_sources_may_not_share_a_name():
    two = 'sources = [{name = "a", synthesizer = "wgan"}, {name = "a", synthesizer = "real"}]'
    with pytest.raises(SettingsError, match="must differ"):
        parse_config(two, name="t")


def test_two_names_may_not_differ_in_case_alone():
    two = 'sources = [{name = "wgan", synthesizer = "wgan"}, {name = "WGAN", synthesizer = "real"}]'
    with pytest.raises(SettingsError, match="not in case alone"):
        parse_config(two, name="t")


def checked(tmp_path, title="", source_title="", name="a"):
    source = f'{{name = "{name}", title = "{source_title}", synthesizer = "wgan"}}'
    config = parse_config(f'title = "{title}"\nsources = [{source}]', name="t")
    check_sources(Run(tmp_path / "run", config, tmp_path / "cohort", (), None, tmp_path))


@pytest.mark.parametrize(
    "titles",
    [{"title": "In /srv/a"}, {"source_title": "WGAN of SUB-A1"}, {"name": "sub-A1"}, {"title": "For sub-Anna"}],
)
def test_a_title_that_no_page_may_show_is_refused_before_anything_is_made(tmp_path, titles):
    subjects = (phantom(np.random.default_rng(0), name) for name in ("Anna", "Bert", "Carl"))
    write_bids_cohort(tmp_path / "cohort", "one", subjects)
    checked(tmp_path, title="Siemens /GE, ~20 subjects", source_title="sub-sampled")
    with pytest.raises(SettingsError, match=r"holds a path or the id of a subject.*choose another"):
        checked(tmp_path, **titles)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(SettingsError, match="kossen2022"):
        load_config(preset="nix")
