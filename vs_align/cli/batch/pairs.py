"""The list of pairs: a CSV file, read and checked before any work is done."""

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..faults import Refusal
from .made import RECORD, SUMMARY
from .settings import OPTIONS

__all__ = ["Pair", "read_pairs"]

_MOST_FAULTS = 5
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
# To Windows these are devices, whatever comes after a dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# Of 255 that file systems have; the endings of what is being written need some.
_MOST_BYTES = 200
# Spreadsheets separate by what the user's language uses.
_SEPARATORS = ",;\t"


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of the list.

    Attributes:
        line: its number in the file, from 1.
        name: what it is called, and its result.
        clip, ref: the two files.
        out: the video to render, below the folder of results.
        options: its own options, by name without the dashes in front.
    """

    line: int
    name: str
    clip: Path
    ref: Path
    out: str
    options: Mapping[str, str]


def read_pairs(path: Path) -> list[Pair]:
    """Read a list of pairs.

    Args:
        path: CSV in UTF-8, separated by commas, semicolons or tabs, its first line the names of the columns: clip,
            ref, and any of name, out and the options of `settings.OPTIONS`. Relative paths are relative to its folder.

    Raises:
        Refusal: it is not such a file; what is wrong is named with the numbers of the lines.
    """
    rows = [(line, row) for line, row in _rows(path) if any(row)]
    if not rows:
        raise Refusal(f"{path} is empty; its first line must be clip,ref.")
    columns = _columns(path, rows[0][1])
    if len(rows) == 1:
        raise Refusal(f"{path} names no pair: there is nothing below its first line.")
    faults: list[str] = []
    pairs = []
    for line, row in rows[1:]:
        try:
            pairs.append(_pair(path.parent, line, columns, row))
        except Refusal as fault:
            faults.append(f"line {line} {fault}")
    faults += _repeated(pairs)
    if faults:
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise Refusal(f"{path} is refused: {'; '.join(faults[:_MOST_FAULTS])}{more}.")
    return pairs


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the values of each line, with its number."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        separator = next((letter for letter in text.partition("\n")[0] if letter in _SEPARATORS), ",")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
        return [(reader.line_num, [value.strip() for value in row]) for row in reader]
    except OSError as error:
        raise Refusal(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Refusal(f"{path} is not in UTF-8 (line {line}); save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise Refusal(f"{path} is no CSV file ({error}); a value that begins with a quote must end with one.") from None


def _columns(path: Path, row: list[str]) -> list[str]:
    columns = [name.lower().replace("_", "-") for name in row]
    known = ["clip", "ref", "name", "out", *OPTIONS]
    for name in ("clip", "ref"):
        if name not in columns:
            raise Refusal(f"{path} has no column {name}; its first line must be clip,ref and what else is given.")
    for name in columns:
        if name not in known:
            raise Refusal(f"{path} has an unknown column {name!r}; there are {', '.join(known)}.")
        if columns.count(name) > 1:
            raise Refusal(f"{path} has two columns {name}; leave one out.")
    return columns


def _pair(folder: Path, line: int, columns: list[str], row: list[str]) -> Pair:
    if len(row) != len(columns):
        raise Refusal(f"has {len(row)} values for {len(columns)} columns (one with a comma in it needs double quotes)")
    values = {column: value for column, value in zip(columns, row, strict=True) if value}
    for column in ("clip", "ref"):
        if column not in values:
            raise Refusal(f"has no {column}")
    clip, ref = (_file(folder, column, values.pop(column)) for column in ("clip", "ref"))
    name = values.pop("name", clip.stem)
    if not _possible(name):
        raise Refusal(f"has the name '{name}', which no file can have everywhere (a column name gives it another)")
    out = values.pop("out", f"{name}.mkv")
    inside = PurePosixPath(out.replace("\\", "/"))
    if inside.is_absolute() or not inside.suffix or not all(map(_possible, inside.parts)):
        raise Refusal(f"has out '{out}', which is no file below the folder of results")
    if "weights" in values:
        values["weights"] = str(_file(folder, "weights", values["weights"]))
    return Pair(line, name, clip, ref, str(inside), values)


def _file(folder: Path, column: str, value: str) -> Path:
    path = Path(folder, value).absolute()
    if "\\" in value and os.sep == "/" and not path.exists():
        raise Refusal(f"has {column} '{value}', a path as Windows writes it (here: with /)")
    return path


def _possible(name: str) -> bool:
    """Say whether a file can have a name on every system."""
    fits = len(name.encode()) <= _MOST_BYTES and name == name.strip(". ")
    return fits and not _NOT_IN_NAMES.search(name) and not _DEVICES.fullmatch(name)


def _repeated(pairs: Iterable[Pair]) -> list[str]:
    """Say which lines repeat others, or would write what others write."""
    faults, seen = [], dict[object, int]()
    for pair in pairs:
        name = ("name", pair.name.lower())
        files = {f"{pair.name}.json".lower(), f"{pair.name}.csv".lower(), pair.out.lower()}
        same = (pair.clip, pair.ref, tuple(sorted(pair.options.items())))
        if same in seen:
            faults.append(f"line {pair.line} repeats line {seen[same]}")
        elif own := files & {RECORD, SUMMARY}:
            faults.append(f"line {pair.line} would write {min(own)}, as the batch does: give it another name or out")
        elif name in seen:
            faults.append(f"lines {seen[name]} and {pair.line} both have the name '{pair.name}': give one another")
        elif taken := sorted(files & seen.keys()):
            faults.append(
                f"lines {seen[taken[0]]} and {pair.line} would both write {taken[0]}: give one another name or out"
            )
        for key in (same, name, *files):
            seen.setdefault(key, pair.line)
    return faults
