"""What is said: results on stdout, everything else on stderr, with bars where that is a terminal."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Self

from .faults import Refusal

if TYPE_CHECKING:
    import rich.progress

__all__ = ["Console", "Level", "discard_stdout", "say"]

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_UPDATES = 0.05


class Level(IntEnum):
    """How much is said on stderr."""

    QUIET = 0
    USUAL = 1
    VERBOSE = 2


def say(line: str) -> None:
    """Write a line to stderr, where there is one."""
    # It is None in a program without a console, and may be a pipe that nobody reads.
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def discard_stdout() -> None:
    """Flush stdout; where nobody reads it, send what is still to come nowhere."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _silence()


def _silence() -> None:
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Console:
    """The command's voice, to be used in a ``with`` statement.

    Args:
        level: how much is said on stderr.
    """

    def __init__(self, level: Level = Level.USUAL) -> None:
        self._level = level
        self._bars: rich.progress.Progress | None = None
        self._tasks: dict[str, rich.progress.TaskID] = {}
        self._what, self._last = "", 0.0
        self._log = _ToConsole(self)

    def __enter__(self) -> Self:
        logger = logging.getLogger("vs_align")
        self._log.setLevel(logging.INFO if self._level is Level.VERBOSE else logging.WARNING)
        self._before = logger.level
        logger.setLevel(min(logger.getEffectiveLevel(), self._log.level))
        logger.addHandler(self._log)
        self._bars = _bars() if self._level > Level.QUIET and sys.stderr is not None and sys.stderr.isatty() else None
        return self

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("vs_align")
        logger.removeHandler(self._log)
        logger.setLevel(self._before)
        self.done()

    def show(self, text: str) -> None:
        """Write a result to stdout. That nobody reads it is no fault."""
        self.done()
        if sys.stdout is None:
            return
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except OSError as error:
            _silence()
            # Windows says of a pipe that nobody reads that it is invalid.
            if error.errno not in (errno.EPIPE, errno.EINVAL):
                raise Refusal(f"the result cannot be written to stdout ({error.strerror}).") from None

    def note(self, line: str) -> None:
        """Say something that matters."""
        self._say(line, Level.USUAL)

    def detail(self, line: str) -> None:
        """Say something that only those want to know who ask for it."""
        self._say(line, Level.VERBOSE)

    def _say(self, line: str, level: Level) -> None:
        if self._level < level:
            return
        if self._bars is not None and self._tasks:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            say(line)

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far a long work is: a bar on a terminal, else a line every few seconds, none in the first."""
        if self._level is Level.QUIET:
            return
        now = time.monotonic()
        fresh = what != self._what
        if fresh and self._bars is None:
            self._last = now
        self._what = what
        pause = _SECONDS_BETWEEN_LINES if self._bars is None else _SECONDS_BETWEEN_UPDATES
        if now - self._last < pause and (self._bars is None or not (fresh or done == total)):
            return
        self._last = now
        if self._bars is None:
            say(f"{what}: {done} of {total} ({100 * done // max(1, total)} %)")
        else:
            self._draw(self._bars, what, done, total)

    def _draw(self, bars: rich.progress.Progress, what: str, done: int, total: int) -> None:
        if not self._tasks:
            bars.start()
        if what not in self._tasks:
            self._tasks[what] = bars.add_task(what, total=total)
        task = self._tasks[what]
        # The same work may be done once more, with what was found meanwhile.
        if done < bars.tasks[bars.task_ids.index(task)].completed:
            bars.reset(task)
        bars.update(task, completed=done, total=total)

    def done(self) -> None:
        """Take the bars away."""
        if self._bars is not None and self._tasks:
            self._bars.stop()
            for task in self._tasks.values():
                self._bars.remove_task(task)
            self._tasks.clear()


class _ToConsole(logging.Handler):
    """Has the console say what the package logs."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.note(record.getMessage())


def _bars() -> rich.progress.Progress | None:
    """Return bars on stderr, not yet shown; None without rich, of which lines are said instead."""
    try:
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Terminal(stderr=True), transient=True)
