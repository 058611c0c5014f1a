"""Videos of a data set, for training and for validation."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .. import datasets
from ..datasets import AnnotationError
from ..faults import TrainFault
from .clips import Clips, FileClips, Footage, frames_of, stored
from .sequence_config import SequenceConfig

__all__ = ["footage_of"]

_log = logging.getLogger("vs_align.train")


@contextmanager
def footage_of(config: SequenceConfig, folder: Path | None) -> Iterator[Footage]:
    """Lend the videos that a run trains on and is validated with.

    Args:
        config: the run.
        folder: the data set's.

    Raises:
        TrainFault: none is given, or there is nothing in it to train on.
    """
    if folder is None:
        raise TrainFault("there is nothing to train on: give --footage a folder of videos")
    training, validation = _videos(config, folder)
    with ExitStack() as held:
        parts = [_clips(config, paths, held) for paths in (training, validation)]
        if not len(parts[0]):
            raise TrainFault(f"nothing in {folder} can be trained on: correct held_out and unused, or the videos")
        _log.info("%d videos to train on, %d for validation", *map(len, parts))
        yield Footage(*parts)


def _videos(config: SequenceConfig, folder: Path) -> tuple[Sequence[Path], Sequence[Path]]:
    if config.dataset != "folder":
        training = datasets.load(config.dataset, folder, "train").videos
        try:
            return training, datasets.load(config.dataset, folder, "val").videos
        except AnnotationError as fault:
            _log.warning("no validation: %s", fault)
            return training, ()
    table = datasets.load("folder", folder)
    used = [row for row in table.rows if not any(word in row.name for word in config.unused)]
    held = [row for row in used if any(word in row.name for word in config.held_out)]
    return [row.video_file_0 for row in used if row not in held], [row.video_file_0 for row in held]


def _clips(config: SequenceConfig, paths: Sequence[Path], held: ExitStack) -> Clips:
    if config.cache:
        return held.enter_context(stored(paths, config.size, config.most_frames))
    lengths = []
    kept = []
    for path in paths:
        try:
            count = frames_of(path)
        except TrainFault as fault:
            _log.warning("%s; it is left out", fault)
            continue
        if count:
            kept.append(path)
            lengths.append(count)
    return FileClips(tuple(kept), tuple(lengths), config.size)
