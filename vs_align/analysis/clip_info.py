"""What is known of a clip without its pictures: enough to tell it from another."""

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np
import vapoursynth as vs

from ..frames import planes
from .reading import in_order

__all__ = ["ClipInfo"]

_SAMPLED = 5


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What identifies a clip.

    Attributes:
        length: in frames.
        width, height: in pixels.
        rate: frames per second; None: unknown or variable.
        fingerprint: a hash of the samples of five frames over the whole length.
    """

    length: int
    width: int
    height: int
    rate: Fraction | None
    fingerprint: str

    @classmethod
    def of(cls, clip: vs.VideoNode, rate: Fraction | None = None) -> Self:
        """Describe a clip; five of its frames are read.

        Args:
            clip: of one format and size.
            rate: its frame rate, where it does not say one itself.
        """
        own = Fraction(clip.fps_num, clip.fps_den) if clip.fps_num else None
        digest = hashlib.sha256()
        picked = np.unique(np.linspace(0, clip.num_frames - 1, _SAMPLED).round().astype(int)).tolist()
        for _, frame in in_order(clip, picked):
            for samples in planes(frame):
                digest.update(np.ascontiguousarray(samples).tobytes())
        return cls(clip.num_frames, clip.width, clip.height, rate or own, digest.hexdigest())

    def difference(self, other: "ClipInfo") -> str | None:
        """Say in a few words how another clip differs; None where it does not. Rates may be given and do not count."""
        if self.length != other.length:
            return f"{other.length} frames instead of {self.length}"
        if (self.width, self.height) != (other.width, other.height):
            return f"{other.width}x{other.height} instead of {self.width}x{self.height}"
        return None if self.fingerprint == other.fingerprint else "other pictures"
