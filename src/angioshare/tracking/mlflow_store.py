"""A database for MLflow: one experiment, one MLflow run for each track. Nothing is sent anywhere."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from angioshare.rundir import atomic_path
from angioshare.tracking.library import optional
from angioshare.tracking.track import Track

FILE = "mlflow.db"
"""Name of the database."""

_NOWHERE = "mlflow-artifacts:/none"
"""Where artifacts would go: none are stored, and any folder that MLflow chose would be a path of this machine."""

_ROWS = 1000
"""Numbers that MLflow takes at a time."""

_LONGEST = 8000
"""Signs that MLflow takes as a tag."""


def write_database(title: str, tracks: Sequence[Track], folder: Path, *, private: bool) -> None:
    """Write a database that `mlflow ui --backend-store-uri sqlite:///FILE` shows; an earlier one is replaced.

    Args:
        title: Name of the experiment.
        tracks: What is shown.
        folder: Where.
        private: The file is for its owner's eyes alone (mode 0600).

    Raises:
        SettingsError: MLflow is not installed.
        DataError: The file cannot be written.
    """
    store_class = _quiet_library()
    with atomic_path(folder / FILE, private=private) as temporary:
        store = store_class(f"sqlite:///{temporary.absolute()}", _NOWHERE)
        try:
            experiment = store.create_experiment(title, artifact_location=_NOWHERE)
            for track in tracks:
                _write(store, experiment, track)
        finally:
            store.engine.dispose()


def _quiet_library() -> Any:
    """Load MLflow without its telemetry, which it reads from the environment once, and without its log of tables."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    module = optional("mlflow.store.tracking.sqlalchemy_store", "databases for MLflow")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    return module.SqlAlchemyStore


def _write(store: Any, experiment: str, track: Track) -> None:
    entities = optional("mlflow.entities", "databases for MLflow")
    words = {key: text[:_LONGEST] for key, text in track.about.items()}
    statement = words.pop("statement", "")
    # Times are those of the epoch's begin: when something was trained is nobody's business, and MLflow needs one.
    run = store.create_run(experiment, user_id="", start_time=1, tags=[], run_name=track.name)
    tags = [entities.RunTag("mlflow.note.content", statement)] if statement else []
    parameters = [entities.Param(key, text) for key, text in words.items()]
    store.log_batch(run.info.run_id, metrics=[], params=parameters, tags=tags)
    rows = [
        entities.Metric(one.name, value, 1, step)
        for one in track.series
        for step, value in zip(one.steps, one.values, strict=True)
    ]
    for begin in range(0, len(rows), _ROWS):
        store.log_batch(run.info.run_id, metrics=rows[begin : begin + _ROWS], params=[], tags=[])
    store.update_run_info(run.info.run_id, entities.RunStatus.FINISHED, 1, track.name)
