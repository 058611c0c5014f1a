"""What has been made: a record beside the results, so that nothing is made twice."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import __version__
from ...analysis.store import write_text
from ..faults import Refusal

__all__ = ["RECORD", "SUMMARY", "Made", "identity", "key_of", "sha256"]

# What a batch writes beside the results.
RECORD, SUMMARY = "batch.json", "summary.csv"
_FORMAT, _VERSION = "vs_align batch", 1
_BLOCK = 1 << 16
# Files up to this size are always read to see whether they are whole; of larger ones size and time are enough.
_READ_BYTES = 1 << 24


def sha256(path: Path) -> str:
    """Return the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(path: Path) -> dict[str, Any]:
    """Return what tells an input from another: size, time of change, and a hash of its beginning, middle and end."""
    about = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for at in (0, about.st_size // 2, max(0, about.st_size - _BLOCK)):
            file.seek(at)
            digest.update(file.read(_BLOCK))
    return {"size": about.st_size, "mtime_ns": about.st_mtime_ns, "sample": digest.hexdigest()}


def key_of(*facts: object) -> str:
    """Return what is the same for the same inputs and options."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


class Made:
    """The record of a folder of results.

    Args:
        folder: the folder.
        force: whether a record that is none counts for nothing.

    Raises:
        Refusal: there is a record that is none.
    """

    def __init__(self, folder: Path, force: bool = False) -> None:
        self._folder, self._path = folder, folder / RECORD
        self._units: dict[str, dict[str, Any]] = {}
        if not self._path.exists():
            return
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if (found["format"], found["version"]) != (_FORMAT, _VERSION):
                raise ValueError
            self._units = {
                str(unit): {"key": str(entry["key"]), "files": dict(entry["files"])}
                for unit, entry in found["made"].items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            if force:
                return
            raise Refusal(
                f"{self._path} is no record of a batch of this version; name another --out-dir, or pass --force to "
                "make all again."
            ) from None

    def has(self, unit: str, key: str) -> bool:
        """Say whether something was made of the same inputs with the same options, and is there and whole."""
        entry = self._units.get(unit)
        return entry is not None and entry["key"] == key and all(map(self._whole, *_items(entry["files"])))

    def owns(self, name: str) -> bool:
        """Say whether a file in the folder was made here."""
        return any(name in entry["files"] for entry in self._units.values())

    def take(self, unit: str, key: str, moves: Mapping[str, tuple[Path, str]]) -> None:
        """Put files where they belong.

        Args:
            unit: what they are.
            key: of what and how they were made.
            moves: for each name below the folder the file that is to have it, and the hash of that.
        """
        files = {}
        for name, (path, digest) in moves.items():
            about = path.stat()
            files[name] = {"size": about.st_size, "mtime_ns": about.st_mtime_ns, "sha256": digest}
        # The record first: a file that it does not fit is made again, one that it does not have would be a stranger.
        self._units[unit] = {"key": key, "files": files}
        self._save()
        for name, (path, _) in moves.items():
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(self._folder / name)

    def forget(self, units: list[str]) -> None:
        """Delete what was made on the way."""
        for unit in units:
            entry = self._units.pop(unit, None)
            for name in () if entry is None else entry["files"]:
                (self._folder / name).unlink(missing_ok=True)
        self._save()

    def units(self, prefix: str) -> list[str]:
        """Return what was made whose name begins so."""
        return [unit for unit in self._units if unit.startswith(prefix)]

    def _whole(self, name: str, about: Mapping[str, Any]) -> bool:
        path = self._folder / name
        try:
            now = path.stat()
            if now.st_size != about["size"]:
                return False
            same_time = now.st_mtime_ns == about["mtime_ns"]
            return (same_time and now.st_size > _READ_BYTES) or sha256(path) == about["sha256"]
        except OSError:
            return False

    def _save(self) -> None:
        record = {"format": _FORMAT, "version": _VERSION, "by": f"vs_align {__version__}", "made": self._units}
        write_text(self._path, json.dumps(record, indent=1) + "\n")


def _items(files: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    return list(files), list(files.values())
