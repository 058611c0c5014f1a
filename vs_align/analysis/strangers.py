"""Which of ref's frames clip does not have."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .alignment import Alignment

__all__ = ["without_strangers"]

# A frame that is held for so many ref frames is in doubt: where clip lacks a passage, a path holds.
_HELD = 3
# By how much a held frame must be less like ref than nearly all frames of passages that go on evenly.
_WORSE, _NEARLY_ALL = 1.25, 0.95


def without_strangers(found: Alignment, strange: float) -> Alignment:
    """Take the match from ref frames that clip does not have.

    Those are outside all passages of one offset, and either as unlike as strangers, or shown a held frame that is
    less alike than the frames of those passages are.

    Args:
        found: a clip frame for every ref frame.
        strange: the score from which two frames are taken for strangers.
    """
    unlike = found.score > strange
    first = _unmatched(found, unlike)
    inside = _inside(first)
    doubtful = unlike.copy()
    if inside.any():
        usual = _WORSE * float(np.quantile(found.score[inside], _NEARLY_ALL))
        doubtful |= _held(found.frame) & (found.score > usual)
    return _unmatched(found, doubtful & ~inside)


def _unmatched(found: Alignment, gone: NDArray[np.bool_]) -> Alignment:
    return replace(found, frame=np.where(gone, -1, found.frame), confidence=np.where(gone, 0.0, found.confidence))


def _inside(found: Alignment) -> NDArray[np.bool_]:
    inside = np.zeros(len(found), np.bool_)
    for segment in found.segments:
        inside[segment.first : segment.last + 1] = True
    return inside


def _held(frame: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which frames are part of a run of one clip frame."""
    edges = np.flatnonzero(np.diff(frame, prepend=frame[0] - 1))
    lengths = np.diff(np.append(edges, len(frame)))
    return np.repeat(lengths >= _HELD, lengths)
