"""Pixel formats: what an encoder is given in place of what it does not take."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Self

import vapoursynth as vs

from .faults import Refusal

__all__ = ["PixelFormat", "fitted"]

_CHROMA = {(2, 2): "410", (2, 0): "411", (1, 1): "420", (0, 1): "440", (1, 0): "422", (0, 0): "444"}
_DEPTHS = (8, 9, 10, 12, 14, 16)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A planar format that both VapourSynth and FFmpeg have.

    Attributes:
        family: GRAY, YUV or RGB.
        chroma: by how many powers of two chroma is smaller, across and down.
        bits: of a sample.
    """

    family: vs.ColorFamily
    chroma: tuple[int, int]
    bits: int

    @classmethod
    def of(cls, fmt: vs.VideoFormat) -> Self:
        """Return VapourSynth's format; float counts as 16 bits."""
        bits = fmt.bits_per_sample if fmt.sample_type == vs.INTEGER else 16
        return cls(fmt.color_family, (fmt.subsampling_w, fmt.subsampling_h), bits)

    @property
    def name(self) -> str:
        """What FFmpeg calls it."""
        deep = "" if self.bits == 8 else f"{self.bits}le"
        if self.family == vs.GRAY:
            return f"gray{deep}"
        return f"gbrp{deep}" if self.family == vs.RGB else f"yuv{_CHROMA[self.chroma]}p{deep}"

    def cost(self, source: "PixelFormat") -> tuple[bool, int, int, bool, int]:
        """Return what is lost by taking it for another, colours, chroma, depth, and then what is more than needed."""
        grey, rgb = source.family == vs.GRAY, source.family == vs.RGB
        colourless = self.family == vs.GRAY and not grey
        # Of a grey picture chroma is empty, and as small as players know it.
        chroma = list(zip(self.chroma, (1, 1) if grey else source.chroma, strict=True))
        lost = sum(max(0, own - wanted) for own, wanted in chroma)
        spare = sum(max(0, wanted - own) for own, wanted in chroma) + max(0, self.bits - source.bits)
        needless = self.family == vs.RGB and not rgb
        return colourless or needless, lost, max(0, source.bits - self.bits), self.family != source.family, spare


def _formats() -> Iterator[PixelFormat]:
    for bits in _DEPTHS:
        yield PixelFormat(vs.GRAY, (0, 0), bits)
        yield PixelFormat(vs.RGB, (0, 0), bits)
    for chroma, bits in product(_CHROMA, _DEPTHS):
        yield PixelFormat(vs.YUV, chroma, bits)


def fitted(clip: vs.VideoNode, offered: Iterable[str]) -> vs.VideoNode:
    """Convert a clip to the format, of those that an encoder takes, that loses least; the same where it takes that.

    Args:
        clip: of any format.
        offered: FFmpeg's names of formats.

    Raises:
        Refusal: the encoder takes no planar format, or none that the picture's size goes with.
    """
    names, source = set(offered), PixelFormat.of(clip.format)
    taken = [each for each in _formats() if each.name in names]
    if not taken:
        raise Refusal("the encoder takes no format that VapourSynth has; name another --codec.")
    best = min(taken, key=lambda each: each.cost(source))
    wanted = vs.core.query_video_format(best.family, vs.INTEGER, best.bits, *best.chroma)
    if wanted.id == clip.format.id:
        return clip
    if clip.width % (1 << best.chroma[0]) or clip.height % (1 << best.chroma[1]):
        raise Refusal(f"the encoder takes no picture of {clip.width}x{clip.height}; name another --codec.")
    dither = "error_diffusion" if best.bits < source.bits else "none"
    if source.family == vs.RGB and best.family != vs.RGB:
        return clip.resize.Bicubic(format=wanted.id, matrix=1, range=0, dither_type=dither)
    return clip.resize.Bicubic(format=wanted.id, dither_type=dither)
