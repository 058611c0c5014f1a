"""All measures on one data set."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..datasets import Row, Table
from ..embedding.clips import read_video
from ..faults import TrainFault
from .alignment import frame_errors, kendalls_tau
from .phases import phase_accuracy, progress_r2
from .retrieval import average_precision

__all__ = ["SHARES", "Embedder", "evaluate", "evaluate_pairs", "evaluate_phases"]

type Embedder = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From frames (T, H, W, 3), RGB, to embeddings (T, D)."""
type Video = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Embeddings and phases, or numbers of the frames."""

SHARES = (0.1, 0.5, 1.0)
"""Of the training videos whose labels the classification has."""
_NEAREST = (5, 10, 15)


def evaluate(embed: Embedder, size: int, training: Table | None, testing: Table) -> dict[str, float]:
    """Return all figures that a data set allows.

    Args:
        embed: the embedding.
        size: side of the frames that it wants, in pixels; larger ones are read.
        training: rows whose labels may be learned from; None: there are none.
        testing: rows to measure on.

    Raises:
        TrainFault: a video cannot be read, or the data set has neither phases nor pairs.
    """
    if all(row.paired and _single(row.label_0) and _single(row.label_1) for row in testing.rows):
        return evaluate_pairs(embed, size, testing.rows)
    if training is None or not all(_framewise(row) for row in (*training.rows, *testing.rows)):
        raise TrainFault("the data set has neither a phase for each frame nor pairs of recordings of one moment")
    return evaluate_phases(*([_video(embed, size, row) for row in table.rows] for table in (training, testing)))


def evaluate_phases(training: Sequence[Video], testing: Sequence[Video]) -> dict[str, float]:
    """Return phase classification, progress, retrieval and Kendall's tau.

    Args:
        training: embeddings and phases of the videos that are learned from.
        testing: those of the others, at least two.

    Raises:
        TrainFault: there are too few videos.
    """
    if len(testing) < 2 or not training:
        raise TrainFault("phases need a training video and two others at least: give a larger data set")
    figures = {
        f"phase accuracy, {100 * share:.0f} % of the labels": phase_accuracy(training, testing, share)
        for share in SHARES
    }
    figures["progress, R^2"] = progress_r2(training, testing)
    pairs = itertools.permutations([part for part, _ in testing], 2)
    figures["Kendall's tau"] = float(np.mean([kendalls_tau(*pair) for pair in pairs]))
    return figures | {f"AP@{count}": average_precision(testing, count) for count in _NEAREST}


def evaluate_pairs(embed: Embedder, size: int, rows: Sequence[Row]) -> dict[str, float]:
    """Return the frame error of nearest neighbours, its median, and Kendall's tau over pairs of recordings.

    Args:
        embed, size: as for `evaluate`.
        rows: whose labels say at which frames of their files, which run in step, the recordings begin.

    Raises:
        TrainFault: a video cannot be read, or no pair has a moment in common.
    """
    errors, taus = [], []
    for row in rows:
        (one, numbers), (other, other_numbers) = (
            _recording(embed, size, *part)
            for part in ((row.video_file_0, row.label_0), (row.video_file_1, row.label_1))
        )
        errors.append(frame_errors(one, other, numbers, other_numbers))
        taus.append(kendalls_tau(one, other))
    every = np.concatenate(errors)
    if not len(every):
        raise TrainFault("no two recordings have a moment in common: correct the data set's labels")
    return {
        "frame error, mean": float(every.mean()),
        "frame error, median": float(np.median(every)),
        "Kendall's tau": float(np.mean(taus)),
    }


def _recording(embed: Embedder, size: int, path: Path, label: tuple[int, ...] | None) -> Video:
    """Return the embeddings of a recording, and the numbers of its frames in the file."""
    begin = 0 if label is None else label[0]
    frames = read_video(path, size)
    if begin >= len(frames):
        raise TrainFault(f"{path} has {len(frames)} frames and is said to begin at {begin}: correct the data set")
    return embed(frames[begin:]), np.arange(begin, len(frames))


def _video(embed: Embedder, size: int, row: Row) -> Video:
    made, labels = embed(read_video(Path(row.video_file_0), size)), np.array(row.label_0, np.int64)
    if len(made) != len(labels):
        raise TrainFault(f"{row.name} has {len(made)} frames and {len(labels)} labels: correct the data set")
    return made, labels


def _single(label: tuple[int, ...] | None) -> bool:
    return label is not None and len(label) == 1


def _framewise(row: Row) -> bool:
    return row.label_0 is not None and len(row.label_0) > 1
