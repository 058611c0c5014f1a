"""`ClipOffset`: one offset between two clips, how sure it is, and what it was read from."""

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

from .store import write_text

__all__ = ["ClipOffset", "Passage"]

_FORMAT, _VERSION = "vs_align offset", 1


@dataclass(frozen=True, slots=True)
class Passage:
    """What one passage of both clips says.

    Attributes:
        ref_frame, clip_frame: where it begins.
        length: frames.
        offset_frames: clip frame minus ref frame, for the whole clips.
        probability: 0..1, that this is right within one frame.
    """

    ref_frame: int
    clip_frame: int
    length: int
    offset_frames: int
    probability: float


@dataclass(frozen=True, slots=True)
class ClipOffset:
    """One offset between two clips.

    Attributes:
        offset_frames: ref's frame n shows what clip's frame n + offset_frames shows; positive where clip is late.
        probability: 0..1, that this is right within one frame. Near 0 where the pictures do not move, the clips have
            nothing in common, or the offset is out of reach.
        rate: clip's frames per second; None: not known.
        passages: what was looked at, in order.
        predictor: how each passage was judged.
        similarity: the measure.
        around: the offset from which 30 frames either way were looked for.
    """

    offset_frames: int
    probability: float
    rate: Fraction | None
    passages: tuple[Passage, ...]
    predictor: str
    similarity: str
    around: int

    @property
    def seconds(self) -> float | None:
        """The offset in seconds of clip; None where its frame rate is not known."""
        return None if not self.rate else float(self.offset_frames / self.rate)

    @property
    def agreement(self) -> float:
        """0..1, how many of the passages say this offset within one frame."""
        near = [abs(passage.offset_frames - self.offset_frames) <= 1 for passage in self.passages]
        return sum(near) / len(near)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as the JSON file holds them."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "offset_frames": self.offset_frames,
            "seconds": self.seconds,
            "probability": self.probability,
            "rate": None if not self.rate else str(self.rate),
            "predictor": self.predictor,
            "similarity": self.similarity,
            "around": self.around,
            "passages": [asdict(passage) for passage in self.passages],
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Write all of it as JSON; a file that is there is replaced, whole or not at all."""
        write_text(Path(path), json.dumps(self.as_dict(), indent=1) + "\n")
