"""Films whose pictures carry their number, encoded without loss: what a script or a command did is read back."""

import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "sample_scripts"
FILM, NTSC, PAL = Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25)
COLUMNS, ROWS, NUMBER_ROW = 10, 6, 3
SIZE = (160, 96)
type Levels = tuple[int, int]
USUAL, OTHER_LOOK, FALLBACK_LOOK = (50, 190), (80, 150), (30, 110)


def picture(number: int, size: tuple[int, int], levels: Levels) -> av.VideoFrame:
    """Return a frame of dark and light blocks: one row spells the number, the others are another pattern for each."""
    blocks = np.random.default_rng(number).integers(0, 2, (ROWS, COLUMNS), np.uint8)
    blocks[NUMBER_ROW] = [number >> bit & 1 for bit in range(COLUMNS)]
    luma = cv2.resize(np.array(levels, np.uint8)[blocks], size, interpolation=cv2.INTER_NEAREST)
    chroma = np.full((size[1] // 2, size[0]), 128 + levels[0] % 20, np.uint8)
    return av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), format="yuv420p")


def number_of(luma: np.ndarray, levels: Levels) -> int:
    """Read the number back. A picture of another look, and black, has none."""
    height, width = luma.shape
    x = (np.arange(COLUMNS) * 2 + 1) * width // (2 * COLUMNS)
    row = luma[(NUMBER_ROW * 2 + 1) * height // (2 * ROWS), x]
    if not np.isin(row, levels).all():
        raise AssertionError(f"the blocks are {row.tolist()}, not {levels}")
    return sum(1 << bit for bit in range(COLUMNS) if row[bit] == max(levels))


def load_demo() -> ModuleType:
    """Return the demo as a module: it encodes."""
    spec = importlib.util.spec_from_file_location("demo", SCRIPTS / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which vspipe finds this Python and this checkout."""
    # vspipe asks the `vapoursynth` command on PATH which Python to load, and notes it in the configuration folder.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder)}


@dataclass(frozen=True)
class Film:
    """A file to be made: which pictures it shows, how fast, how large, in which two levels."""

    numbers: Iterable[int]
    fps: Fraction = FILM
    size: tuple[int, int] = SIZE
    levels: Levels = USUAL

    def write(self, path: Path, demo: ModuleType) -> None:
        frames = (picture(number, self.size, self.levels) for number in self.numbers)
        demo.encode(frames, path, self.fps, crf=0)  # x264 at 8 bit and crf 0 loses nothing


def luma_of(frame: av.VideoFrame) -> np.ndarray:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def in_order(count: int) -> list[int]:
    """Return 0 .. count-1 late by three frames, some repeated."""
    return [0, 0, 0, *sorted([*range(count), 11, 20, 20, 30])]


def muddled(count: int) -> list[int]:
    """Return 0 .. count-1 late by three frames, some repeated and some in the wrong order; none is missing."""
    numbers = [0, 0, 0, *range(count)]
    numbers[11:13] = reversed(numbers[11:13])
    numbers[20:24] = reversed(numbers[20:24])
    numbers.insert(30, numbers[30])
    return numbers


WHOLE = list(range(40))
CUT = [n for n in WHOLE if not 15 <= n < 25]
