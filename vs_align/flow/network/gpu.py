"""One frame in flight on a CUDA device: a stream, buffers that are reused, and a CUDA graph of the whole frame.

What goes on where, and in what order:

    script's thread   frame ─copy─▶ pinned      launch       wait ......................   pinned ─copy─▶ frame
    lane's stream                    upload ─▶ graph: the work ─▶ download ─▶ event

- All of a lane's work is on its own stream, so it needs no events but the last one, and a lane is used by one thread
  at a time, so its buffers are touched by the thread alone or by the device alone. Lanes overlap each other.
- Buffers are a lane's own for as long as it lives, and made while its stream is current: the allocator never hands
  their memory to somebody else, so nothing has to be recorded.
- A graph works on addresses. What it reads and writes from outside are those buffers; all else it needs lies in a pool
  of its own, and the graphs of one lane, which never run at the same time, share one.
- PyTorch captures one graph at a time, and what another thread puts into the stream meanwhile would become part of the
  graph (streams come from a small round of them, so two lanes may have the same). One lock for the process keeps
  capturing and launching apart. Nobody waits for the device under it, but while a graph is made.
- cuBLAS has a workspace for each pair of a thread's handle and a stream, and PyTorch keeps it for good. So streams are
  used again when a lane has gone, and all graphs are made on threads of their own, one after the other, that take the
  same handle in turn: reloading a script takes no more memory than loading it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .frame import FrameWork, Job
from .geometry import Constant

__all__ = ["LAUNCHING", "CudaLane", "Program", "copy_in", "copy_out"]

_log = logging.getLogger("vs_align")

LAUNCHING = threading.Lock()
"""Held while work is put into a stream, a graph is captured, or the allocator gives back memory."""

# Streams that no lane has any more, by `torch.cuda` and device.
_SPARE: dict[tuple[Any, torch.device], list[Any]] = {}
# Libraries choose their kernels and take their workspaces on the first runs.
_WARM_UPS = 3

type Parts = Sequence[np.ndarray[Any, Any]]


class CudaLane:
    """One frame in flight. Used by one thread at a time.

    Args:
        work: the work on a frame.
        device: a CUDA device with its index.
        cuda: `torch.cuda`, or what stands in for it.

    Attributes:
        stream: what the lane's work is on.
    """

    def __init__(self, work: FrameWork, device: torch.device, cuda: Any = torch.cuda) -> None:
        self._work: FrameWork | None = work
        self._device = device
        self._cuda = cuda
        # Adding to a list and taking from it are whole steps: `__del__`, which may come at any time, needs no lock.
        self._spare = _SPARE.setdefault((cuda, device), [])
        with cuda.device(device):
            self.stream = _taken(self._spare) or cuda.Stream()
            # The thread sleeps while it waits; others have frames to copy.
            self._done = cuda.Event(blocking=True)
            self._pool = cuda.graph_pool_handle()
        self._programs: dict[Job, Program] = {}

    def run(self, job: Job, given: Mapping[str, Parts], wanted: Mapping[str, Parts]) -> None:
        """Do a job on a frame.

        Args:
            job: what is done.
            given: what is read, by the names of `Setup.given`.
            wanted: receives the results, by the names of `Setup.wanted`.
        """
        with torch.inference_mode(), self._cuda.device(self._device):
            program = self.program(job)
            copy_in(given, program.given)
            try:
                with LAUNCHING, self._cuda.stream(self.stream):
                    program.upload()
                    program.compute()
                    program.download()
                    self._done.record(self.stream)
                self._done.synchronize()
            except BaseException:
                # The buffers are free for the next frame only when the device has let go of them.
                self.stream.synchronize()
                raise
            copy_out(program.wanted, wanted)

    def free(self) -> None:
        """Give back graphs and buffers. The lane must be idle, and is of no use afterwards."""
        self._programs.clear()
        self._work = None
        self._pool = None

    def __del__(self) -> None:
        if hasattr(self, "stream"):
            self._spare.append(self.stream)

    def program(self, job: Job) -> Program:
        """Return what does a job; it is prepared when it is first asked for, which takes a while."""
        found = self._programs.get(job)
        if found is None:
            found = self._programs[job] = self._prepared(job)
        return found

    def _prepared(self, job: Job) -> Program:
        # A table may be forgotten between warming up and capturing only by somebody who holds the lock.
        with LAUNCHING, ThreadPoolExecutor(1) as thread:
            return thread.submit(self._captured, job).result()

    def _captured(self, job: Job) -> Program:
        assert self._work is not None
        with torch.inference_mode(), self._cuda.device(self._device), self._cuda.stream(self.stream), exact():
            program = Program(self._work, job, self._device)
            program.warm_up()
            # Tables that were made on the way are there for every stream from now on.
            self._cuda.synchronize(self._device)
            program.capture(self._cuda, self.stream, self._pool)
        return program


class Program:
    """A job's buffers and its graph.

    Attributes:
        given, wanted: by name, the pinned memory that a frame comes from and goes to.
    """

    def __init__(self, work: FrameWork, job: Job, device: torch.device) -> None:
        self._work, self._job = work, job
        pinned = device.type == "cuda"
        given, wanted = work.setup.given(job), work.setup.wanted(job)
        self._given = {name: buffer.tensor(device) for name, buffer in given.items()}
        self._wanted = {name: buffer.tensor(device) for name, buffer in wanted.items()}
        self._from = {name: buffer.tensor(torch.device("cpu"), pinned) for name, buffer in given.items()}
        self._to = {name: buffer.tensor(torch.device("cpu"), pinned) for name, buffer in wanted.items()}
        self.given = {name: buffer.array(self._from[name]) for name, buffer in given.items()}
        self.wanted = {name: buffer.array(self._to[name]) for name, buffer in wanted.items()}
        self._graph: Any = None
        self._tables: list[Tensor] = []

    def warm_up(self) -> None:
        """Run as often as the libraries need before a graph can be captured."""
        for _ in range(_WARM_UPS):
            self._worked()

    def capture(self, cuda: Any, stream: Any, pool: Any) -> None:
        """Capture the work as a graph; where that fails, say so and go on without one."""
        graph = cuda.CUDAGraph()
        try:
            # Other threads may use the device for their own ends meanwhile.
            with cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                self._worked()
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as fault:
            reason = " ".join(str(fault).split())[:200]
            _log.warning("vs_align.spatial: no CUDA graph could be made, which costs speed (%s).", reason)
        else:
            self._graph = graph
            # The graph knows their addresses alone.
            self._tables = Constant.held()

    @property
    def has_graph(self) -> bool:
        """Whether the work is a graph."""
        return self._graph is not None

    def upload(self) -> None:
        """Put into the current stream: pinned memory to the device."""
        for name, tensor in self._given.items():
            tensor.copy_(self._from[name], non_blocking=True)

    def compute(self) -> None:
        """Put into the current stream: the work."""
        if self._graph is not None:
            self._graph.replay()
            return
        with exact():
            self._worked()

    def download(self) -> None:
        """Put into the current stream: the device to pinned memory."""
        for name, tensor in self._to.items():
            tensor.copy_(self._wanted[name], non_blocking=True)

    def _worked(self) -> None:
        for name, result in self._work(self._job, self._given).items():
            self._wanted[name].copy_(result)


def _taken(spare: list[Any]) -> Any:
    """Take one out of a list; None: there is none."""
    try:
        return spare.pop()
    except IndexError:
        return None


def copy_in(given: Mapping[str, Parts], buffers: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Copy what a frame gives into the buffers of the same names."""
    for name, buffer in buffers.items():
        for part, row in zip(given[name], buffer, strict=True):
            np.copyto(row, part, casting="equiv")


def copy_out(buffers: Mapping[str, np.ndarray[Any, Any]], wanted: Mapping[str, Parts]) -> None:
    """Copy what buffers hold to where it is wanted; rows may be padded."""
    for name, parts in wanted.items():
        for row, part in zip(buffers[name], parts, strict=True):
            np.copyto(part, row, casting="equiv")


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Keep float32 exact, and the choice of kernels the same every time.

    Convolutions would else round to ten bits (TF32), and two lanes might choose different kernels by their timing.
    """
    matmul: Any = torch.backends.cuda.matmul
    # The older name may not be read once a script has used the newer one.
    setting, value = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    before = getattr(matmul, setting)
    setattr(matmul, setting, value)
    try:
        with torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False
        ):
            yield
    finally:
        setattr(matmul, setting, before)
