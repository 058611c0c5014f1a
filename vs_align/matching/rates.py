"""Mapping ref's frame numbers to clip's through two frame rates, in exact rational arithmetic."""

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["RateMap"]


@dataclass(frozen=True, slots=True)
class RateMap:
    """Clip frames per ref frame.

    Attributes:
        ratio: clip's frame rate divided by ref's; 1 maps frame n to frame n.
    """

    ratio: Fraction = Fraction(1)

    @classmethod
    def from_rates(cls, clip_num: int, clip_den: int, ref_num: int, ref_den: int) -> "RateMap":
        """Build the map from the two rates, each a positive numerator and denominator in frames per second."""
        return cls(Fraction(clip_num, clip_den) / Fraction(ref_num, ref_den))

    def centre(self, n: int) -> int:
        """Return the clip frame that is on screen at the time of ref's frame ``n``."""
        return n * self.ratio.numerator // self.ratio.denominator

    @property
    def most_new_frames(self) -> int:
        """The largest number of clip frames that pass between two consecutive ref frames."""
        return -(-self.ratio.numerator // self.ratio.denominator)
