"""Jobs handed to workers one at a time, with our own account of who died on what.

A scheduler that is told to use one worker waits for that worker's return; one that may use any blames whatever else lay
there. So each worker has one job of ours, whose end is a file; and who is gone, or silent, has failed at that one job.
"""

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .work import Outcome, Task

__all__ = ["Future", "Job", "Pool", "Workers"]

_SECONDS_BETWEEN_LOOKS = 0.25
_MOST_DEATHS = 2
# Between two looks more than this may pass only where the machine slept.
_LONGEST_STEP = 5.0


class Future(Protocol):
    """What a worker has been given."""

    def fault(self) -> str | None:
        """Say why it was not done; None: it was, or is being."""

    def ended(self) -> bool:
        """Say whether the worker has come to an end with it."""

    def cancel(self) -> None:
        """Take it back where that goes."""


class Workers(Protocol):
    """Those who work."""

    def alive(self) -> dict[str, float]:
        """Return when each was last heard of, by address."""

    def submit(self, task: Task, folder: Path, address: str, wake: Callable[[], object]) -> Future:
        """Give a worker a task; ``wake`` is called when that ends."""

    def end(self, address: str) -> None:
        """End a worker that is silent, where that is ours to do."""


@dataclass(slots=True)
class Job:
    """A task of a pair.

    Attributes:
        pair: the pair's name.
        unit: what it makes.
        task: what is to be done.
        deaths: how many workers it has cost.
    """

    pair: str
    unit: str
    task: Task
    deaths: int = 0


@dataclass(slots=True)
class _Busy:
    job: Job
    folder: Path
    future: Future
    since_ended: float | None = None


@dataclass(slots=True)
class _Heard:
    """When a worker was last heard of, and for how long it has been silent by our clock."""

    seen: float
    silent: float = 0.0


@dataclass(slots=True)
class Pool:
    """Runs jobs.

    Attributes:
        workers: who runs them.
        folder: where their folders are made.
        done: is told of every outcome, with the folder that has the results, and returns further jobs.
        note: is told what is to be said.
        silent_s: after how many seconds of silence a worker counts as dead.
        patience_s: after how many seconds without any worker the jobs that are left fail.
    """

    workers: Workers
    folder: Path
    done: Callable[[Job, Outcome, Path], Iterable[Job]]
    note: Callable[[str], object]
    silent_s: float = 60.0
    patience_s: float = 60.0
    _queue: deque[Job] = field(default_factory=deque)
    _busy: dict[str, _Busy] = field(default_factory=dict)
    _heard: dict[str, _Heard] = field(default_factory=dict)
    _wake: threading.Event = field(default_factory=threading.Event)
    _attempts: int = 0

    def run(self, jobs: Iterable[Job]) -> None:
        """Run jobs, and those that come of them, until none is left."""
        self._queue.extend(jobs)
        before = time.monotonic()
        alone = 0.0
        while self._queue or self._busy:
            now = time.monotonic()
            passed, before = min(now - before, _LONGEST_STEP), now
            able = self._look(passed)
            self._collect(able)
            self._hand_out(able)
            alone = 0.0 if able else alone + passed
            if alone > self.patience_s:
                self._give_up()
                continue
            self._wake.wait(_SECONDS_BETWEEN_LOOKS)
            self._wake.clear()

    def drop(self, pair: str) -> None:
        """Forget the jobs of a pair that have not begun."""
        self._queue = deque(job for job in self._queue if job.pair != pair)

    def _look(self, passed: float) -> set[str]:
        """Return the workers that are there and not silent."""
        alive = self.workers.alive()
        self._heard = {
            address: _Heard(seen) if (known := self._heard.get(address)) is None or known.seen != seen else known
            for address, seen in alive.items()
        }
        for heard in self._heard.values():
            heard.silent += passed
        return {address for address, heard in self._heard.items() if heard.silent <= self.silent_s}

    def _collect(self, able: set[str]) -> None:
        for address, busy in list(self._busy.items()):
            outcome = Outcome.read(busy.folder)
            if outcome is None and (fault := busy.future.fault()) is not None:
                outcome = Outcome.failed(fault)
            if outcome is not None:
                self._settle(address, outcome)
            elif address not in able:
                self._lost(address, "ended" if address not in self._heard else "fell silent")
            elif busy.future.ended():
                # Shared folders may show a file a little later than the network says it is there.
                busy.since_ended = busy.since_ended or time.monotonic()
                if time.monotonic() - busy.since_ended > self.silent_s:
                    self._settle(address, Outcome.failed(f"its result does not come into {self.folder}"))

    def _settle(self, address: str, outcome: Outcome) -> None:
        busy = self._busy.pop(address)
        self._queue.extendleft(reversed(list(self.done(busy.job, outcome, busy.folder))))
        self._clear(busy)

    def _lost(self, address: str, how: str) -> None:
        busy = self._busy.pop(address)
        self._clear(busy)
        if address in self._heard:
            self.workers.end(address)
        busy.job.deaths += 1
        if busy.job.deaths < _MOST_DEATHS:
            self.note(f"{busy.job.pair}: its worker {how}; it is given to another.")
            self._queue.appendleft(busy.job)
            return
        reason = f"its worker {how}, and so had one before; it may need more memory than there is, or crash a plugin"
        self._queue.extendleft(self.done(busy.job, Outcome.failed(reason), busy.folder))

    def _clear(self, busy: _Busy) -> None:
        """Take the folder away: who still works there notices."""
        busy.future.cancel()
        shutil.rmtree(busy.folder, ignore_errors=True)

    def _hand_out(self, able: set[str]) -> None:
        for address in sorted(able - self._busy.keys()):
            if not self._queue:
                return
            job = self._queue.popleft()
            self._attempts += 1
            folder = self.folder / f"{self._attempts:06d}"
            folder.mkdir()
            future = self.workers.submit(job.task, folder, address, self._wake.set)
            self._busy[address] = _Busy(job, folder, future)

    def _give_up(self) -> None:
        """Fail all that is left: there is nobody who could do it."""
        left, self._queue = list(self._queue), deque()
        for job in left:
            self.done(job, Outcome.failed("no worker is left"), self.folder)
