"""Event files for TensorBoard: one for each track, in a folder of the track's name.

A writer of its own kind would put the machine's name into the file's name and the time into every number. Neither may
leave, so files are written record by record: the same run gives the same bytes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from angioshare.rundir import atomic_path
from angioshare.tracking.library import optional
from angioshare.tracking.track import Track

FILE = "events.out.tfevents.0.angioshare"
"""Name of every event file; TensorBoard looks for its middle part."""


def write_events(title: str, tracks: Sequence[Track], folder: Path, *, private: bool) -> None:
    """Write a folder that `tensorboard --logdir` shows; earlier files of the same tracks are replaced.

    Args:
        title: Of the run or study.
        tracks: What is shown.
        folder: Where.
        private: Files are for their owner's eyes alone (mode 0600).

    Raises:
        SettingsError: tensorboardX is not installed.
        DataError: A file cannot be written.
    """
    records = optional("tensorboardX.record_writer", "TensorBoard event files")
    for track in tracks:
        with atomic_path(folder.joinpath(*track.path) / FILE, private=private) as temporary:
            writer = records.RecordWriter(str(temporary))
            for event in _events(title, track):
                writer.write(event.SerializeToString())
            writer.close()


def _events(title: str, track: Track) -> Iterator[Any]:
    """The format's mark, then words, then numbers."""
    event = optional("tensorboardX.proto.event_pb2", "TensorBoard event files").Event
    summary = optional("tensorboardX.summary", "TensorBoard event files")
    yield event(file_version="brain.Event:2")
    for key, words in {"title": title, **track.about}.items():
        yield event(summary=summary.text(f"about/{key}", words))
    for one in track.series:
        for step, value in zip(one.steps, one.values, strict=True):
            yield event(step=step, summary=summary.scalar(one.name, value))
