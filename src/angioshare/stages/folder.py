"""Run folders: planned, made, opened again; two runs are never mixed in one."""

import hashlib
import platform
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from angioshare import __version__
from angioshare.cohort.cohort import open_cohort
from angioshare.config import Config, SourceSettings, parse_config, to_toml
from angioshare.errors import DataError, SettingsError
from angioshare.report.sharing import telling
from angioshare.rundir import write_json, write_text
from angioshare.stages.run import Run, read_identity
from angioshare.synthesis.registry import shows_public

LIBRARIES = ("torch", "numpy", "scipy", "nibabel", "dp-accounting", "cryptography", "safetensors")
"""Libraries whose versions stand beside every output."""

_HALF_MADE = ("private", "config.toml", "environment.json")
"""What may stand where a folder was being made when a kill came."""


def environment() -> dict[str, str]:
    """Versions of what computes, with no name of a user or machine."""
    found = {"angioshare": __version__, "python": platform.python_version(), "system": platform.system()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "missing"
    return found


def planned_run(
    root: Path,
    config: Config,
    cohort: Path,
    second_sites: Sequence[Path] = (),
    *,
    ledger: Path | None = None,
    state: Path,
    public_cohort: Path | None = None,
) -> Run:
    """Speak of a run without making its folder; one that stands must be of the same run.

    Raises:
        SettingsError: The folder holds another run, or something else; the device is not to be had here.
        DataError: A cohort cannot be read.
    """
    _check_device(config.device)
    run = Run(
        root,
        config,
        cohort.resolve(),
        tuple(site.resolve() for site in second_sites),
        ledger and ledger.resolve(),
        state,
        public_cohort and public_cohort.resolve(),
    )
    if (root / "run.json").exists():
        _same(run, open_run(root, state=state))
        return run
    for path in (run.cohort, *run.second_sites, *([run.public_cohort] if run.public_cohort else [])):
        open_cohort(path)  # a cohort that cannot be read is told before anything is made
    if root.is_file() or (root.is_dir() and any(entry.name not in _HALF_MADE for entry in root.iterdir())):
        raise SettingsError(f"{root} is not empty and no run folder; choose another folder")
    return run


def check_public_scans(sources: Iterable[SourceSettings], *, public: bool) -> None:
    """See that there is a public cohort where one is to be shown.

    Raises:
        SettingsError: There is none.
    """
    for source in sources:
        if not public and shows_public(source.synthesizer, source.settings):
            raise SettingsError(
                f"source {source.name} has scans of a public cohort among its pairs, and there is none; give "
                "--public-cohort, or leave out the source or its setting public_scans"
            )


def refuse_telling_titles(title: str, sources: Iterable[SourceSettings], cohorts: Iterable[Path]) -> None:
    """Refuse titles that the page to share may not show, while they can still be chosen.

    Args:
        title: Of the run or study.
        sources: Those that it will show.
        cohorts: Where the people stand whose ids no title may hold.

    Raises:
        SettingsError: A title or a source's name holds a path, or the id of a subject.
    """
    ids: list[str] = []
    for cohort in cohorts:
        with suppress(DataError):  # told by whoever reads it
            ids += open_cohort(cohort).ids
    texts = [title, *(text for source in sources for text in (source.name, source.title))]
    if found := telling(texts, ids):
        raise SettingsError(
            f"title or name {found[0]!r} holds a path or the id of a subject, which the page to share may not show; "
            "choose another"
        )


def make_folder(run: Run) -> Run:
    """Make the folder of a planned run, unless it stands.

    Raises:
        DataError: It cannot be written.
        SettingsError: Another process has made it for another run since this one was planned, or works in it.
    """
    if not (run.root / "run.json").exists():
        _make_private(run.private)
        with run.alone():
            if not (run.root / "run.json").exists():  # two that start together both came here
                write_text(run.root / "config.toml", to_toml(run.config))
                write_json(run.root / "environment.json", dict(environment()))
                _write_identity(run)
    _same(run, open_run(run.root, state=run.state))
    return run


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise DataError(f"cannot make {folder}: {error.strerror}; choose a folder that you may write") from error


def _write_identity(run: Run) -> None:
    """Last of all, so that a half-made folder is no run."""
    write_json(
        run.root / "run.json",
        {
            "id": secrets.token_hex(8),
            "cohort": str(run.cohort),
            "second_sites": [str(site) for site in run.second_sites],
            "ledger": str(run.ledger) if run.ledger else "",
            "public_cohort": str(run.public_cohort) if run.public_cohort else "",
            "settings": digest_of(to_toml(run.config)),
        },
        private=True,
    )


def digest_of(settings: str) -> str:
    """Names the text of a settings file."""
    return hashlib.sha256(settings.encode()).hexdigest()


def _same(new: Run, old: Run) -> None:
    """Refuse to mix two runs in one folder."""
    if new.cohort != old.cohort or new.second_sites != old.second_sites:
        raise SettingsError(
            f"{old.root} holds a run on {old.cohort} with second sites "
            f"{', '.join(map(str, old.second_sites)) or 'none'}; choose another folder"
        )
    if new.public_cohort != old.public_cohort:
        raise SettingsError(
            f"{old.root} holds a run with the public cohort {old.public_cohort or 'none'}, not "
            f"{new.public_cohort or 'none'}; choose another folder"
        )
    if new.config != old.config:
        raise SettingsError(
            f"{old.root} holds a run with other settings (see {old.root / 'config.toml'}); choose another folder, "
            "or --resume to go on with its own settings"
        )


def open_run(root: Path, *, state: Path) -> Run:
    """Open a run folder.

    Raises:
        SettingsError: It is none, or its settings were changed or are gone: what was trained without noise would be
            taken for what was trained with it.
        DataError: What says whose run it is, is garbled.
    """
    if not (root / "run.json").exists():
        raise SettingsError(f"{root} is no run folder (run.json is missing); make one with `angioshare run COHORT OUT`")
    identity = read_identity(root)
    try:
        text = (root / "config.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"cannot read {root / 'config.toml'}: {error}; bring back the settings that the run began with, or begin "
            "anew in another folder"
        ) from error
    if identity.get("settings", digest_of(text)) != digest_of(text):  # earlier versions wrote no digest
        raise SettingsError(
            f"{root / 'config.toml'} was changed since the run began, and what is finished was made with other "
            "settings; bring it back, or begin anew in another folder"
        )
    return Run(
        root,
        parse_config(text, name=str(root / "config.toml")),
        Path(identity["cohort"]),
        tuple(Path(site) for site in identity["second_sites"]),
        Path(identity["ledger"]) if identity["ledger"] else None,
        state,
        Path(identity["public_cohort"]) if identity.get("public_cohort") else None,
    )


def _check_device(device: str) -> None:
    kind, _, index = device.partition(":")
    cards = torch.cuda.device_count() if kind == "cuda" else 0
    if kind != "cpu" and int(index or 0) >= cards:
        raise SettingsError(f"device {device!r} is not to be had on this machine ({cards} CUDA devices); choose cpu")
