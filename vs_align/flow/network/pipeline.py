"""Frames through the network: NumPy arrays in, NumPy arrays out, several frames at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..homography import homography, homography_grid
from .frame import CELL, FrameWork, Job, Picture, Setup, cells
from .geometry import Constant
from .gpu import LAUNCHING, CudaLane, copy_in, copy_out
from .memory import GpuError, lanes_that_fit, too_little
from .weights import FILES, load_weights

__all__ = [
    "Found",
    "Picture",
    "Pipeline",
    "Setup",
    "free_bytes",
    "opened",
    "projective_start",
]

_log = logging.getLogger("vs_align")

type Planes = Sequence[NDArray[Any]]
type Flow = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found out about a frame.

    Attributes:
        moved: whether anything is to be moved.
        residual: what disagreement is left, 0 to 1.
        mean_shift, max_shift: lengths of the displacements, in pixels of ref.
    """

    moved: bool
    residual: float
    mean_shift: float
    max_shift: float


class Pipeline:
    """Frames through the network, on one device. Calls from several threads at once are right, and overlap.

    On the CPU each call has buffers of its own and stays on its thread. On CUDA there are some lanes (`gpu.py`), and a
    call waits until one is idle.

    Args:
        net: the network, on ``device``.
        setup: what is the same for all frames.
        device: "cpu" or a CUDA device with its index.
        lanes: frames in flight on CUDA; 0: the device is the CPU.
        cuda: `torch.cuda`, or what stands in for it.
    """

    def __init__(
        self, net: Any, setup: Setup, device: str | torch.device = "cpu", lanes: int = 0, cuda: Any = torch.cuda
    ) -> None:
        self._setup = setup
        self._device = torch.device(device)
        self._cuda = cuda
        # Held while lanes come and go, or the pipeline is closed.
        self._changing = threading.Lock()
        self._lanes = lanes
        self._work: FrameWork | None = FrameWork(net, setup, self._device)
        # The one used last first: where one frame is asked for at a time, one lane does it all.
        self._idle: queue.LifoQueue[CudaLane] = queue.LifoQueue()
        for _ in range(lanes):
            self._idle.put(CudaLane(self._work, self._device, cuda))

    @property
    def lanes(self) -> int:
        """Frames in flight at most; 0: the CPU, and as many as there are calls."""
        return self._lanes

    def aligned(
        self,
        clip: Planes,
        ref: Planes,
        mask: NDArray[np.uint8] | None = None,
        start: Flow | None = None,
        *,
        out: Planes,
        cover: NDArray[np.uint8] | None = None,
    ) -> Found:
        """Warp clip's planes onto ref.

        Args:
            clip, ref: three planes each, (H, W), all samples finite.
            mask: not 0 where ref is to be ignored, ref's shape; None: nowhere.
            start: a flow to begin with, see `projective_start`; None: one is found.
            out: receives the planes, of ref's shape and clip's type.
            cover: receives 1 where they come from inside clip, else 0, where the setup asks for alpha.
        """
        wanted = {"planes": out} if cover is None else {"planes": out, "cover": [cover]}
        return self._run(False, clip, ref, mask, start, wanted)

    def flow(
        self, clip: Planes, ref: Planes, mask: NDArray[np.uint8] | None = None, start: Flow | None = None
    ) -> tuple[Flow | None, float]:
        """Return the flow from ref to clip, shape (H, W, 2), None where nothing is to be moved; and the residual."""
        flow = np.empty((*self._setup.ref.shape, 2), np.float32)
        found = self._run(True, clip, ref, mask, start, {"flow": [flow]})
        return flow if found.moved else None, found.residual

    def close(self) -> None:
        """Give back what is held. Frames in flight end well, later ones are refused."""
        with self._changing:
            self._work = None
            idle = []
            with contextlib.suppress(queue.Empty):
                while True:
                    idle.append(self._idle.get_nowait())
            self._free(idle)
        # Who waits for a lane takes one of these and sees that it is too late.
        for lane in idle:
            self._idle.put(lane)

    def _run(
        self,
        flow: bool,
        clip: Planes,
        ref: Planes,
        mask: NDArray[np.uint8] | None,
        start: Flow | None,
        wanted: dict[str, Planes],
    ) -> Found:
        masked = mask is not None and bool(mask.any())
        given: dict[str, Planes] = {"clip": clip, "ref": ref}
        if masked and mask is not None:
            given["mask"] = [mask]
        if start is not None:
            given["start"] = [start[..., 0], start[..., 1]]
        numbers = np.empty(4, np.float32)
        work, job = self._open_work(), Job(flow, masked, started=start is not None)
        if self._lanes:
            self._on_a_lane(job, given, wanted | {"numbers": [numbers]})
        else:
            _run_on_cpu(work, job, given, wanted | {"numbers": [numbers]})
        moved, residual, mean, most = (float(number) for number in numbers)
        return Found(moved > 0.5, residual, mean, most)

    def _open_work(self) -> FrameWork:
        work = self._work
        if work is None:
            raise GpuError("the script that this frame belongs to has ended.")
        return work

    def _on_a_lane(self, job: Job, given: dict[str, Planes], wanted: dict[str, Planes]) -> None:
        while True:
            lane = self._idle.get()
            kept = True
            try:
                self._open_work()
                lane.run(job, given, wanted)
                return
            except torch.cuda.OutOfMemoryError as fault:
                kept = not self._one_fewer()
                if kept:
                    raise GpuError(too_little(self._setup, None)) from fault
            finally:
                self._put_back(lane, kept)

    def _one_fewer(self) -> bool:
        """Do with one lane fewer from now on; False: there is but one."""
        with self._changing:
            if self._lanes == 1:
                return False
            self._lanes -= 1
        _log.warning("vs_align.spatial: too little GPU memory; frames in flight from now on: %d.", self._lanes)
        return True

    def _put_back(self, lane: CudaLane, kept: bool) -> None:
        with self._changing:
            if self._work is None or not kept:
                self._free([lane])
        if kept:
            self._idle.put(lane)

    def _free(self, lanes: list[CudaLane]) -> None:
        """Give back what idle lanes hold, and what the allocator keeps for them."""
        if not lanes:
            return
        with LAUNCHING:
            # Tables may be in use by a frame of another pipeline.
            self._cuda.synchronize(self._device)
            for lane in lanes:
                lane.free()
            Constant.forget()
            self._cuda.empty_cache()


def _run_on_cpu(work: FrameWork, job: Job, given: dict[str, Planes], wanted: dict[str, Planes]) -> None:
    """Do a job on the calling thread; see `CudaLane.run`."""
    cpu = torch.device("cpu")
    with torch.inference_mode(), _one_thread():
        buffers, results = work.setup.given(job), work.setup.wanted(job)
        tensors = {name: buffer.tensor(cpu) for name, buffer in buffers.items()}
        copy_in(given, {name: buffer.array(tensors[name]) for name, buffer in buffers.items()})
        made = work(job, tensors)
        copy_out({name: buffer.array(made[name].contiguous()) for name, buffer in results.items()}, wanted)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep PyTorch on the calling thread: the frame server has one for each core, and sums come out the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def opened(weights: str | os.PathLike[str] | None, setup: Setup, device: str) -> Pipeline:
    """Return a pipeline with the network that a file describes, with as many lanes as the GPU's free memory allows.

    Args:
        weights: a local file; None: see `NetworkFiles.located`.
        setup: what is the same for all frames.
        device: "cpu", "cuda" or "cuda:N".

    Raises:
        ModelError: the weights are missing or of no use.
        GpuError: the GPU has too little memory.
    """
    net = load_weights(FILES.located(weights))
    where = torch.device(device)
    if where.type == "cpu":
        return Pipeline(net, setup, where)
    where = torch.device("cuda", torch.cuda.current_device() if where.index is None else where.index)
    return Pipeline(net.to(where), setup, where, lanes_that_fit(setup, free_bytes(where)))


def free_bytes(device: torch.device, cuda: Any = torch.cuda) -> int:
    """Return how much of a GPU's memory can be had: what nobody has, and what PyTorch keeps without a use for it."""
    free, _ = cuda.mem_get_info(device)
    return int(free) + int(cuda.memory_reserved(device)) - int(cuda.memory_allocated(device))


def projective_start(
    clip: NDArray[np.float32], ref: NDArray[np.float32], mask: NDArray[np.uint8] | None
) -> NDArray[np.float32] | None:
    """Return the flow of the homography between two lumas of one size, one value for each cell; None without one."""
    matrix = homography(ref, clip, None if mask is None else mask == 0)
    if matrix is None:
        return None
    rows, columns = cells((ref.shape[0], ref.shape[1]))
    return homography_grid(matrix, (rows * CELL, columns * CELL), CELL)
