"""Workers on Dask: processes of our own on this machine, or those of a scheduler."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from ... import __version__
from ..faults import Refusal
from ..files import need
from .pool import Future
from .work import Task, work

__all__ = ["Team", "check_address", "local", "remote"]

_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER, _SECONDS_TO_LEAVE = 15, 30, 3
_SILENT = logging.CRITICAL + 10
_CONFIG = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.logging.distributed": "critical",
    "distributed.comm.timeouts.connect": _SECONDS_TO_CONNECT,
    "distributed.diagnostics.nvml": False,
}


class _Given:
    """A task that a worker has."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def fault(self) -> str | None:
        """Say why it was not done."""
        if self._future.status not in ("error", "lost", "cancelled"):
            return None
        if self._future.status != "error":
            return "Dask lost it; run again"
        error = self._future.exception(timeout=_SECONDS_TO_ANSWER)
        text = " ".join(str(error).split())
        if type(error) is RuntimeError:
            return text.rstrip(".")
        return f"its worker failed with {type(error).__name__}: {text}".rstrip(".: ")

    def ended(self) -> bool:
        """Say whether the worker is done with it."""
        return bool(self._future.done())

    def cancel(self) -> None:
        """Have the scheduler forget it."""
        # Never waits: who does not answer holds nobody up.
        self._future.release()


class Team:
    """The workers of a Dask scheduler.

    Args:
        client: the connection to it.
        cluster: our own processes, where they are.
    """

    def __init__(self, client: Any, cluster: Any | None = None) -> None:
        self._client, self._cluster = client, cluster
        self._given = 0
        self._mark = f"vs_align-{os.getpid()}-{time.time_ns()}"
        self._answered, self._last = time.monotonic(), dict[str, float]()

    def alive(self) -> dict[str, float]:
        """Return when each worker was last heard of, by address.

        Raises:
            Refusal: the scheduler does not answer any more.
        """
        try:
            found = self._client.sync(self._client.scheduler.identity, callback_timeout=_SECONDS_TO_LEAVE)
        except (OSError, TimeoutError):
            if time.monotonic() - self._answered > _SECONDS_TO_ANSWER:
                raise Refusal("the scheduler does not answer any more; run again, what is made is kept.") from None
            return self._last
        self._answered = time.monotonic()
        workers = found["workers"].items()
        self._last = {address: about["last_seen"] for address, about in workers if about["status"] == "running"}
        return self._last

    def submit(self, task: Task, folder: Path, address: str, wake: Callable[[], object]) -> Future:
        """Give a worker a task."""
        self._given += 1
        key = f"{self._mark}-{self._given}"
        future = self._client.submit(
            work, task, str(folder), __version__, key=key, pure=False, workers=[address], allow_other_workers=False
        )
        future.add_done_callback(lambda _: wake())
        return _Given(future)

    def end(self, address: str) -> None:
        """End a process of ours that is silent; another takes its place."""
        for nanny in self._nannies():
            if nanny.worker_address == address:
                _kill(nanny.pid)

    def leave(self) -> None:
        """End our processes, at once: what they make is in files or not wanted."""
        for nanny in self._nannies():
            nanny.auto_restart = False
            _kill(nanny.pid)
        with contextlib.suppress(OSError, TimeoutError):
            self._client.close(timeout=_SECONDS_TO_LEAVE)
        if self._cluster is not None:
            with contextlib.suppress(OSError, TimeoutError):
                self._cluster.close(timeout=_SECONDS_TO_LEAVE)

    def _nannies(self) -> list[Any]:
        return [] if self._cluster is None else list(self._cluster.workers.values())


def _kill(pid: int | None) -> None:
    if pid is not None:
        with contextlib.suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _dask() -> tuple[Any, Any]:
    """Return Dask's two packages, which say nothing."""
    need("distributed", "batch", "batch")
    found = importlib.import_module("dask"), importlib.import_module("distributed")
    logging.getLogger("distributed").setLevel(_SILENT)
    return found


@contextlib.contextmanager
def local(jobs: int) -> Iterator[Team]:
    """Start processes on this machine, which are ended afterwards.

    Args:
        jobs: how many, each with one thread.
    """
    dask, distributed = _dask()
    with (
        tempfile.TemporaryDirectory(prefix="vs_align-", ignore_cleanup_errors=True) as scratch,
        dask.config.set({**_CONFIG, "temporary-directory": scratch}),
    ):
        team = None
        try:
            with _ctrl_c_later():
                cluster = distributed.LocalCluster(
                    n_workers=jobs,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                    memory_limit=0,
                    local_directory=scratch,
                    # Processes that are ended cannot clear up: what they leave goes with the folder.
                    env=dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch),
                    silence_logs=_SILENT,
                    preload=[f"{__package__}.preload"],
                )
                cluster.scheduler.http_server.stop()
                team = Team(distributed.Client(cluster), cluster)
            yield team
        finally:
            if team is not None:
                team.leave()


@contextlib.contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Have Ctrl-C wait; processes that are started meanwhile, or by threads that are, do not hear it at all."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Its start, left to later, would lift the block.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_address(address: str) -> None:
    """Refuse what is no address of a scheduler."""
    if not re.fullmatch(r"([a-z]+://)?[^\s/]+:\d{1,5}", address):
        raise Refusal(f"--scheduler must be an address such as tcp://host:8786, not {address!r}.")


@contextlib.contextmanager
def remote(address: str) -> Iterator[Team]:
    """Connect to a scheduler, whose workers go on afterwards.

    Args:
        address: where it is: tcp://host:8786.

    Raises:
        Refusal: it does not answer.
    """
    dask, distributed = _dask()
    with dask.config.set(_CONFIG):
        try:
            client = distributed.Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            why = " ".join(str(error).split())[:120] or "no answer"
            raise Refusal(f"there is no Dask scheduler at {address} ({why}); start one with: dask scheduler.") from None
        team = Team(client)
        try:
            yield team
        finally:
            team.leave()
