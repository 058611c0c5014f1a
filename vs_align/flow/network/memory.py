"""How much GPU memory frames in flight need. Nothing in here asks a device."""

from __future__ import annotations

from ..stages import BLOCK
from .frame import Job, Setup

__all__ = ["LANES", "GpuError", "lanes_that_fit", "needed_bytes", "too_little"]

LANES = 3
"""Frames in flight on a GPU: one goes up, one is worked on, one comes down."""

# The weights, PyTorch's workspaces, and what the driver takes for graphs.
_FIXED_BYTES = 256 << 20
# What the work holds at most at one time, for a pixel of ref, filled up to whole blocks, and for one of clip: what the
# CPU needs (230 where the sizes are the same, 680 for a clip twice as wide and high) with room for fragments.
_REF_PIXEL_BYTES, _CLIP_PIXEL_BYTES = 280, 140
# Smaller pictures are not worth naming.
_LEAST_SIDE = 64


class GpuError(RuntimeError):
    """The GPU cannot do it. One line that says what to do, without the public function's name."""


def needed_bytes(setup: Setup, lanes: int) -> int:
    """Return about how much GPU memory so many frames in flight need; the precision makes no difference."""
    job = Job(masked=True, started=True)
    buffers = sum(buffer.nbytes for buffer in (*setup.given(job).values(), *setup.wanted(job).values()))
    height, width = (-(-side // BLOCK) * BLOCK for side in setup.ref.shape)
    work = height * width * _REF_PIXEL_BYTES
    return _FIXED_BYTES + lanes * (buffers + work + setup.clip.height * setup.clip.width * _CLIP_PIXEL_BYTES)


def lanes_that_fit(setup: Setup, free_bytes: int, most: int = LANES) -> int:
    """Return how many frames in flight fit the GPU memory that is free, at most ``most``.

    Raises:
        GpuError: not even one does; the message says what would.
    """
    for lanes in range(most, 0, -1):
        if needed_bytes(setup, lanes) <= free_bytes:
            return lanes
    raise GpuError(too_little(setup, free_bytes))


def too_little(setup: Setup, free_bytes: int | None) -> str:
    """Return the message for a GPU whose memory does not suffice.

    Args:
        setup: what was asked for.
        free_bytes: what is free; None: not known.
    """
    ref = setup.ref
    needs = f"{ref.width}x{ref.height} needs about {_gib(needed_bytes(setup, 1))} at any precision"
    if free_bytes is None:
        return f'too little GPU memory: {needs}; use smaller pictures, engine="dis" or device="cpu".'
    # What is needed grows with the area.
    share = max(free_bytes - _FIXED_BYTES, 0) / (needed_bytes(setup, 1) - _FIXED_BYTES)
    width, height = (int(side * 0.98 * share**0.5) for side in (ref.width, ref.height))
    fits = f"both at {width}x{height} would fit; or use" if min(width, height) >= _LEAST_SIDE else "use"
    return f'too little GPU memory: {needs} and {_gib(free_bytes)} are free; {fits} engine="dis" or device="cpu".'


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
