"""Arguments that several commands have, and what their values may be."""

import argparse
import re
from fractions import Fraction
from pathlib import Path

__all__ = ["add_alignment", "add_force", "add_pair", "at_least_one", "device", "frame_range", "rate"]


def add_pair(parser: argparse.ArgumentParser) -> None:
    """Add the two files."""
    parser.add_argument("clip", metavar="A", type=Path, help="the video to be put in step")
    parser.add_argument("ref", metavar="B", type=Path, help="the video that it is put in step with")


def add_alignment(parser: argparse.ArgumentParser) -> None:
    """Add the file that saves the analysis."""
    parser.add_argument(
        "--alignment",
        metavar="FILE",
        type=Path,
        help="what vs-align analyse A B --json FILE or --csv FILE found; not given: found now",
    )


def add_force(parser: argparse._ActionsContainer) -> None:
    """Add the leave to overwrite."""
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")


def at_least_one(text: str) -> int:
    """Read a whole number from 1 up."""
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def rate(text: str) -> Fraction:
    """Read a frame rate: 25, 23.976, 24000/1001."""
    try:
        value = Fraction(text).limit_denominator(1_000_000)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value < 1 << 31:
        raise argparse.ArgumentTypeError(f"must be a frame rate such as 25 or 24000/1001, not {text!r}")
    return value


def device(text: str) -> str:
    """Read the name of a compute device."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"must be cpu, cuda or cuda:0, not {text!r}")
    return text


def frame_range(text: str) -> tuple[int, int | None]:
    """Read frames A up to and without B: 100:250, 100:, :250."""
    found = re.fullmatch(r"(\d{0,9}):(\d{0,9})", text)
    if found is None or (found[2] and int(found[1] or 0) >= int(found[2])):
        raise argparse.ArgumentTypeError(f"must be two frame numbers such as 100:250, 100: or :250, not {text!r}")
    return int(found[1] or 0), int(found[2]) if found[2] else None
