"""Files of annotations, read line by line so that what is wrong with one can be named."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .table import AnnotationError

__all__ = ["PICTURES", "VIDEOS", "found_video", "lines", "load_json", "need_folder", "need_video", "whole_number"]

VIDEOS = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".gif", ".y4m")
PICTURES = (".png", ".jpg", ".jpeg")


def need_folder(folder: Path, advice: str) -> Path:
    """Return a folder; refuse one that is not there."""
    if not folder.is_dir():
        raise AnnotationError(f"there is no folder {folder}: {advice}")
    return folder


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield a text file's lines that are not empty, with their numbers from 1.

    Raises:
        AnnotationError: there is no such file, or it is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise AnnotationError(f"there is no file {path}: the data set is not whole") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise AnnotationError(f"{path} cannot be read as text ({' '.join(str(fault).split())[:100]})") from fault
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def load_json(path: Path) -> Any:
    """Return what a JSON file holds; a fault in it is named with its line."""
    text = "\n".join(_all_lines(path))
    try:
        return json.loads(text)
    except json.JSONDecodeError as fault:
        raise AnnotationError.at(path, fault.lineno, f"this is not JSON ({fault.msg})") from None


def _all_lines(path: Path) -> list[str]:
    made: list[str] = []
    for number, line in lines(path):
        made += [""] * (number - 1 - len(made)) + [line]
    return made


def whole_number(text: Any, path: Path, line: int, what: str, least: int = 0) -> int:
    """Read a whole number of an annotation."""
    try:
        value = int(str(text))
    except ValueError:
        raise AnnotationError.at(path, line, f"{what} must be a whole number, not {str(text)[:40]!r}") from None
    if value < least:
        raise AnnotationError.at(path, line, f"{what} must be {least} or more, not {value}")
    return value


def found_video(stem: Path) -> Path | None:
    """Return the video whose path without its ending this is, or the folder of pictures of this name."""
    for ending in VIDEOS:
        path = stem.with_name(stem.name + ending)
        if path.is_file():
            return path
    return stem if stem.is_dir() else None


def need_video(stem: Path, path: Path, line: int) -> Path:
    """Return a video that an annotation names, by its path with or without ending; refuse one that is not there."""
    found = stem if stem.is_file() else found_video(stem)
    if found is None:
        raise AnnotationError.at(path, line, f"there is no video {stem}")
    return found
