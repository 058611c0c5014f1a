"""What a worker does: one task in a folder of its own, its outcome in a file there."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import vapoursynth as vs

from ... import __version__
from ...analysis.store import write_text
from ..command import failure
from ..console import Console, Level
from ..faults import Refusal
from .made import sha256
from .settings import parsed

__all__ = ["HERE", "OUTCOME", "Commands", "Outcome", "Task", "work"]

OUTCOME = "outcome.json"
# No path has this in it.
HERE = "\0folder"
_SECONDS_BETWEEN_LOOKS = 1.0


class Task(Protocol):
    """Something to do, pickled."""

    def run(self, folder: Path, console: Console) -> dict[str, Any]:
        """Do it, results into a folder; return what else is to be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a task.

    Attributes:
        reason: why it failed, in one line; None: it did not.
        facts: what else is to be known.
        files: the hash of each file in the folder.
        notes: what was said meanwhile.
    """

    reason: str | None = None
    facts: dict[str, Any]
    files: dict[str, str]
    notes: list[str]

    @classmethod
    def read(cls, folder: Path) -> "Outcome | None":
        """Return the outcome of a task in a folder; None: it is not there yet."""
        try:
            return cls(**json.loads((folder / OUTCOME).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    @classmethod
    def failed(cls, reason: str) -> "Outcome":
        """Return the outcome of a task that was not done."""
        return cls(reason=reason, facts={}, files={}, notes=[])


class _Gone(Exception):
    """The folder was taken away: nobody waits for the outcome any more."""


class _Voice(Console):
    """Keeps what is said; ends the work when nobody waits for it.

    Args:
        folder: where the work is done.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(Level.USUAL)
        self._folder, self._looked = folder, time.monotonic()
        self.notes: list[str] = []

    def show(self, text: str) -> None:
        """Say nothing: the result is in a file."""

    def note(self, line: str) -> None:
        """Keep it."""
        self.notes.append(line)

    def detail(self, line: str) -> None:
        """Leave it out."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Look now and then whether the work is still wanted."""
        now = time.monotonic()
        # A plugin that indexes calls from a thread of its own, which hears no exception.
        if now - self._looked < _SECONDS_BETWEEN_LOOKS or what.startswith("indexing"):
            return
        self._looked = now
        if not self._folder.is_dir():
            raise _Gone


@dataclass(frozen=True, slots=True)
class Commands:
    """Other commands of ``vs-align``, one after the other.

    Attributes:
        lines: the arguments of each; `HERE` stands for the folder.
    """

    lines: Sequence[Sequence[str]]

    def run(self, folder: Path, console: Console) -> dict[str, Any]:
        """Run them."""
        for line in self.lines:
            options = parsed([part.replace(HERE, str(folder)) for part in line])
            options.command.run(options, console)
        return {}


def work(task: Task, folder: str, version: str) -> None:
    """Do a task on one thread.

    Args:
        task: what to do.
        folder: where; empty, and seen by whoever asks for it.
        version: the vs_align of who asks.

    Raises:
        RuntimeError: the worker is not fit for it.
    """
    place, reason, facts = Path(folder), None, dict[str, Any]()
    if version != __version__:
        raise RuntimeError(f"the worker has vs_align {__version__}, not {version}; install the same everywhere.")
    if not place.is_dir():
        raise RuntimeError(f"the worker does not see {place}; --out-dir must be a folder that all machines share.")
    vs.core.num_threads = 1
    cv2.setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with _Voice(place) as voice:
        try:
            facts = task.run(place, voice)
        except (Refusal, ValueError, TypeError, RuntimeError, OSError, MemoryError, vs.Error) as error:
            reason = failure(error)
            if reason is None:
                raise
        except _Gone:
            return
    if not place.is_dir():
        return
    files = {path.name: sha256(path) for path in sorted(place.iterdir())}
    outcome = {"reason": reason, "facts": facts, "files": files, "notes": voice.notes}
    write_text(place / OUTCOME, json.dumps(outcome))
