"""A batch from beginning to end."""

from __future__ import annotations

import contextlib
import importlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..console import Console
from ..faults import Refusal
from .course import Course, State
from .pool import Job, Pool
from .summary import shown, write_summary
from .team import Team
from .work import Outcome

__all__ = ["Batch", "work_folder"]

_WORK = ".vs_align-batch"


@contextlib.contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Hand out a folder for what is being made, one batch at a time; it is removed afterwards.

    Raises:
        Refusal: another batch works in the folder of results.
    """
    locket: Any = importlib.import_module("locket")
    place = folder / _WORK
    place.mkdir(exist_ok=True)
    lock = locket.lock_file(str(place / "lock"), timeout=0)
    try:
        lock.acquire()
    except locket.LockError:
        raise Refusal(f"another batch works in {folder}; wait for it, or name another --out-dir.") from None
    try:
        # What a batch left that was ended by force.
        for left in place.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        yield place
    finally:
        lock.release()
        shutil.rmtree(place, ignore_errors=True)


def _pairs(number: int) -> str:
    return "1 pair" if number == 1 else f"{number} pairs"


class Batch:
    """Pairs on their way.

    Args:
        courses: the pairs.
        folder: of the results.
        console: is told what is said.
    """

    def __init__(self, courses: Sequence[Course], folder: Path, console: Console) -> None:
        self._courses, self._folder, self._console = courses, folder, console
        self._by_name = {course.pair.name: course for course in courses}
        self._pool: Pool | None = None
        self._said = set[tuple[str, str]]()

    def begin(self, force: bool) -> list[Job]:
        """Return what is to be done."""
        jobs = [job for course in self._courses for job in course.begin(force)]
        for course in self._courses:
            if course.state is State.FAILED:
                self._say_failure(course)
        return jobs

    def run(self, team: Team, jobs: Iterable[Job], place: Path) -> None:
        """Have all jobs done.

        Args:
            team: who does them.
            jobs: the first ones.
            place: for what is being made.
        """
        self._pool = Pool(team, place, self._done, self._console.note)
        self._progress()
        self._pool.run(jobs)

    def finish(self) -> None:
        """Write and show the table.

        Raises:
            Refusal: some pairs failed.
        """
        self._console.show(shown(write_summary(self._courses, self._folder)))
        count = {state: sum(course.state is state for course in self._courses) for state in State}
        self._console.note(
            f"{_pairs(len(self._courses))}: {count[State.MADE]} made, {count[State.KEPT]} were there, "
            f"{count[State.FAILED]} failed."
        )
        if count[State.FAILED]:
            names = ", ".join(course.pair.name for course in self._courses if course.state is State.FAILED)
            raise Refusal(f"{count[State.FAILED]} of {_pairs(len(self._courses))} failed: {names}.")

    def _done(self, job: Job, outcome: Outcome, folder: Path) -> list[Job]:
        course = self._by_name[job.pair]
        for note in outcome.notes:
            said = job.pair, note.replace(f"{folder}", "...")
            # What is to be said of a file every chunk finds anew.
            if said not in self._said:
                self._said.add(said)
                self._console.note(": ".join(said))
        known = course.state is State.FAILED
        try:
            further = course.on(job, outcome, folder)
        except OSError as error:
            place = error.filename2 or error.filename or self._folder
            reason = f"its result cannot be kept as {place} ({error.strerror or error})"
            further = course.on(job, Outcome.failed(reason), folder)
        if course.state is State.FAILED and not known:
            assert self._pool is not None
            self._pool.drop(job.pair)
            self._say_failure(course)
        self._progress()
        return further

    def _say_failure(self, course: Course) -> None:
        self._console.note(f"{course.pair.name} failed: {course.reason}")

    def _progress(self) -> None:
        ended = sum(course.state is not State.WAITING for course in self._courses)
        self._console.progress("pairs", ended, len(self._courses))
