"""Frames through the network's pipeline: samples in and out, lanes, graphs and streams, memory; CUDA by a stand-in."""

import contextlib
import gc
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
import vapoursynth as vs
from helpers import Waves

torch = pytest.importorskip("torch")
from still_net import StillNet  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from vs_align.flow.align import align as align_on_cpu  # noqa: E402
from vs_align.flow.homography import homography_grid  # noqa: E402
from vs_align.flow.network import memory  # noqa: E402
from vs_align.flow.network.frame import FrameWork, Job, Picture, Setup, _light, _Resizing, cells  # noqa: E402
from vs_align.flow.network.gpu import LAUNCHING, exact  # noqa: E402
from vs_align.flow.network.memory import GpuError, lanes_that_fit, needed_bytes  # noqa: E402
from vs_align.flow.network.model import AlignNet  # noqa: E402
from vs_align.flow.network.pipeline import Pipeline, projective_start  # noqa: E402
from vs_align.flow.options import AlignOptions  # noqa: E402
from vs_align.flow.warp import coverage, shift_statistics, warp_planes  # noqa: E402
from vs_align.frames import light, peak  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_torch_thread")]

CPU = torch.device("cpu")
WIDTH, HEIGHT = 96, 64
# Type, largest sample, and the format of VapourSynth.
TYPES = {
    "8": ("uint8", 255, vs.RGB24),
    "10": ("uint16", 1023, vs.RGB30),
    "16": ("uint16", 65535, vs.RGB48),
    "half": ("float16", None, vs.RGBH),
    "float": ("float32", None, vs.RGBS),
}
EACH_TYPE = pytest.mark.parametrize("kind", TYPES)


@pytest.fixture(scope="module")
def net():
    return StillNet().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def whole_net():
    """The network as it is before it is trained."""
    torch.manual_seed(0)
    return AlignNet().eval().requires_grad_(False)


def picture(kind, dx=0.0, dy=0.0, width=WIDTH, height=HEIGHT, seed=3):
    """Three planes of a picture known at every point, seen from (dx, dy); in float up to 1.2."""
    dtype, top, _ = TYPES[kind]
    y, x = np.mgrid[:height, :width] * np.float32(1)
    grey = Waves(seed, shortest=7)(x * (WIDTH / width) + dx, y * (HEIGHT / height) + dy) / 255
    planes = [grey, 0.8 * grey + 0.1, 0.6 * grey + 0.2]
    if top is None:
        return [(part * 1.2).astype(dtype) for part in planes]
    return [np.rint(part * top).astype(dtype) for part in planes]


def setup_of(kind="8", ref_kind="8", size=(WIDTH, HEIGHT), alpha=False, **options):
    return Setup(
        clip=Picture(*size, *TYPES[kind][:2]),
        ref=Picture(WIDTH, HEIGHT, *TYPES[ref_kind][:2]),
        options=AlignOptions(**options),
        alpha=alpha,
    )


def empty(kind="8"):
    return [np.empty((HEIGHT, WIDTH), TYPES[kind][0]) for _ in range(3)]


# ---------------------------------------------------------------- samples


@EACH_TYPE
def test_the_luma_is_that_of_the_other_engine(kind):
    dtype, top, preset = TYPES[kind]
    rng = np.random.default_rng(0)
    if top is None:
        planes = [rng.uniform(-3, 5, (9, 14)).astype(dtype) for _ in range(3)]
    else:
        planes = [rng.integers(0, top + 1, (9, 14)).astype(dtype) for _ in range(3)]
    fmt = vs.core.get_video_format(preset)
    given = torch.from_numpy(np.stack(planes).astype(np.float32))
    assert peak(fmt) == top
    np.testing.assert_allclose(_light(given, top).numpy(), light(planes, fmt), atol=1e-3)


@pytest.mark.parametrize("shape", [(64, 96), (40, 70), (128, 96), (64, 33), (100, 50), (33, 200), (7, 5), (1, 1)])
def test_pictures_are_brought_to_a_size_as_opencv_does(shape):
    given = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    smaller = (min(shape[1], 96), min(shape[0], 64))
    wanted = cv2.resize(given, smaller, interpolation=cv2.INTER_AREA) if smaller != shape[::-1] else given
    wanted = cv2.resize(wanted, (96, 64), interpolation=cv2.INTER_CUBIC) if smaller != (96, 64) else wanted
    found = _Resizing(shape, (64, 96), CPU)(torch.from_numpy(given)).numpy()
    np.testing.assert_allclose(found, wanted, atol=0.02)


@EACH_TYPE
def test_every_sample_comes_out_as_it_went_in_where_nothing_moves(net, kind):
    dtype, top, _ = TYPES[kind]
    rng = np.random.default_rng(2)
    if top is None:
        clip = [rng.uniform(-100, 100, (HEIGHT, WIDTH)).astype(dtype) for _ in range(3)]
    else:
        clip = [rng.integers(0, top + 1, (HEIGHT, WIDTH)).astype(dtype) for _ in range(3)]
        clip[0].flat[: min(top + 1, clip[0].size)] = np.arange(top + 1)[: clip[0].size]
        clip[1].flat[: min(top + 1, clip[1].size)] = np.arange(top + 1)[: -clip[1].size - 1 : -1]
    out = empty(kind)
    found = Pipeline(net, setup_of(kind)).aligned(clip, [np.zeros((HEIGHT, WIDTH), np.uint8)] * 3, out=out)
    assert not found.moved
    assert (found.mean_shift, found.max_shift) == (0, 0)
    assert all(np.array_equal(a, b) for a, b in zip(clip, out, strict=True))


@EACH_TYPE
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (150, 90), (60, 64)])
def test_the_planes_are_sampled_where_the_flow_says(net, kind, size):
    clip, ref = picture(kind, 0.7, -0.4, *size), picture("8")
    setup = setup_of(kind, size=size, alpha=True)
    out, cover = empty(kind), np.empty((HEIGHT, WIDTH), np.uint8)
    pipeline = Pipeline(net, setup)
    found = pipeline.aligned(clip, ref, out=out, cover=cover)
    flow, residual = pipeline.flow(clip, ref)
    assert found.moved
    assert found.residual == residual < 0.1
    np.testing.assert_allclose((found.mean_shift, found.max_shift), shift_statistics(flow), rtol=1e-4)
    top = TYPES[kind][1]
    wanted = warp_planes(clip, flow, (WIDTH, HEIGHT), peak=top)
    for a, b in zip(out, wanted, strict=True):
        limit = 1 + 2e-4 * top if top else 2e-3
        assert np.abs(a.astype(float) - b.astype(float)).max() <= limit
    assert (cover.astype(bool) == coverage(flow, size[::-1], (WIDTH, HEIGHT))).mean() > 0.999


def test_integers_are_clipped_to_their_format(net):
    """Bicubic sampling overshoots at an edge."""
    edge = [np.where((np.arange(WIDTH) // 8) % 2, 1023, 0).astype(np.uint16)[None].repeat(HEIGHT, 0)] * 3
    x = np.arange(WIDTH)[None].repeat(HEIGHT, 0)
    shifted = [np.where(((x + 0.5) // 8) % 2, 200, 30).astype(np.uint8)] * 3
    start = np.zeros((*cells((HEIGHT, WIDTH)), 2), np.float32) + np.float32(0.4)
    out = empty("10")
    Pipeline(net, setup_of("10", wide_search=True)).aligned(edge, shifted, start=start, out=out)
    assert max(part.max() for part in out) <= 1023


@pytest.mark.parametrize("masked", [False, True])
def test_the_flow_is_near_that_of_the_other_engine(net, masked):
    clip, ref = picture("8", 1.2, -0.7), picture("8")
    mask = None
    if masked:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[40:52, 20:70] = 1
        for part in ref:
            part[mask != 0] = 255
    fmt = vs.core.get_video_format(vs.RGB24)
    other = align_on_cpu(light(clip, fmt), light(ref, fmt), mask, AlignOptions())
    flow, residual = Pipeline(net, setup_of()).flow(clip, ref, mask)
    assert residual == pytest.approx(other.residual, abs=0.05)
    assert np.abs(flow - other.flow)[8:-8, 8:-8].mean() < 0.05
    assert np.abs(flow - (-1.2, 0.7)).mean() < 0.15


def test_a_mask_without_white_is_no_mask(net):
    clip, ref = picture("8", 0.6, 0.3), picture("8")
    pipeline = Pipeline(net, setup_of())
    without, _ = pipeline.flow(clip, ref)
    black, _ = pipeline.flow(clip, ref, np.zeros((HEIGHT, WIDTH), np.uint8))
    assert np.array_equal(without, black)


def test_the_start_is_the_homography_between_the_lumas():
    y, x = np.mgrid[:192, :256] * np.float32(1)
    scene = Waves(5, shortest=6)
    matrix = np.array([[1.05, 0.1, -9.0], [-0.08, 1.02, 6.0], [0, 0, 1]])
    ref = scene(*(matrix[row, 0] * x + matrix[row, 1] * y + matrix[row, 2] for row in (0, 1))).astype(np.float32)
    clip = scene(x, y).astype(np.float32)
    start = projective_start(clip, ref, None)
    assert start.shape == (24, 32, 2)
    assert np.abs(start - homography_grid(matrix, (192, 256), 8)).mean() < 0.3
    assert projective_start(np.zeros_like(clip), ref, None) is None


# ---------------------------------------------------------------- what a CUDA graph may hold


class Recording(TorchDispatchMode):
    """Keeps every operation, so that it can be done again on the same tensors, as a graph does."""

    # What waits for the device, depends on its values, or copies from memory that is not pinned.
    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "is_nonzero", "unique", "aten::equal")

    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(part in func.name() for part in self.FORBIDDEN):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func.name()}")
        made = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, made))
        return made

    def replay(self):
        for func, args, kwargs, made in self.done:
            for old, new in zip(tree_leaves(made), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@pytest.mark.parametrize("precision", [1, 2, 3, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_the_work_never_looks_at_a_value_and_can_be_repeated_on_other_samples(whole_net, precision, masked):
    setup = setup_of("16", size=(120, 80), alpha=True, precision=precision, wide_search=masked, iterations=1 + masked)
    job, work = Job(masked=masked, started=masked), FrameWork(whole_net, setup, CPU)
    given = {name: buffer.tensor(CPU) for name, buffer in setup.given(job).items()}
    with torch.inference_mode():
        work(job, given)
        with Recording() as recording:
            recorded = work(job, given)
        if masked:
            given["mask"][0, 10:20] = 1
        for name, seed in (("clip", 0.5), ("ref", 0.0)):
            width, height = given[name].shape[:0:-1]
            kind = "16" if name == "clip" else "8"
            planes = np.stack(picture(kind, seed, seed, width, height))
            given[name].copy_(torch.from_numpy(planes.view("int16") if kind == "16" else planes))
        recording.replay()
        anew = work(job, given)
    for name, tensor in anew.items():
        assert torch.equal(tensor, recorded[name]), name


def test_while_it_works_float32_is_exact_and_kernels_are_always_the_same():
    backends = torch.backends
    before = backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cudnn.deterministic
    with exact():
        assert (backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cudnn.deterministic) == (
            False,
            False,
            True,
        )
        assert not backends.cuda.matmul.allow_tf32
    assert (backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cudnn.deterministic) == before


# ---------------------------------------------------------------- lanes


class StandIn:
    """Stands in for `torch.cuda`, on the CPU: keeps what happens in order, and graphs that really repeat the work."""

    def __init__(self, fails=None, held=None):
        self.events = []
        self.capturing = set()
        self.fails = fails or {}
        self.captures = self.streams = 0
        self.held = held
        self._local = threading.local()

    def note(self, what):
        self.events.append(what)

    @contextlib.contextmanager
    def device(self, device):
        yield

    @contextlib.contextmanager
    def stream(self, stream):
        self._local.stream = stream
        yield
        self._local.stream = None

    def synchronize(self, device=None):
        self.note("device waits")

    def empty_cache(self):
        assert LAUNCHING.locked()
        self.note("empty cache")

    def graph_pool_handle(self):
        return object()

    def Stream(self):
        self.streams += 1
        return _Stream(self)

    def Event(self, blocking):
        assert blocking
        return _Event(self)

    def CUDAGraph(self):
        return _Graph(self)

    @contextlib.contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        assert LAUNCHING.locked()
        assert pool is not None
        assert self._local.stream is stream
        assert capture_error_mode == "thread_local"
        self.captures += 1
        self.capturing.add(threading.get_ident())
        fault = self.fails.get(self.captures)
        if fault is not None:
            raise fault
        with Recording() as graph.recording:
            yield


class _Stream:
    def __init__(self, cuda):
        self.cuda = cuda

    def synchronize(self):
        self.cuda.note("stream waits")


class _Event:
    def __init__(self, cuda):
        self.cuda = cuda

    def record(self, stream):
        assert LAUNCHING.locked()
        assert self.cuda._local.stream is stream
        self.cuda.note("record")

    def synchronize(self):
        self.cuda.note("wait")
        if self.cuda.held is not None:
            self.cuda.held.wait(30)


class _Graph:
    def __init__(self, cuda):
        self.cuda = cuda

    def replay(self):
        assert LAUNCHING.locked()
        assert self.cuda._local.stream is not None
        self.cuda.note("replay")
        self.recording.replay()


def on_lanes(net, lanes=1, setup=None, **options):
    cuda = StandIn(**options)
    return Pipeline(net, setup or setup_of(precision=1), CPU, lanes, cuda), cuda


PAIRS = [(picture("8", 0.3 * k, -0.2 * k, seed=k), picture("8", seed=k)) for k in range(1, 7)]


def answer(pipeline, pair):
    out = empty()
    found = pipeline.aligned(*pair, out=out)
    return found, [part.tobytes() for part in out]


@pytest.fixture(scope="module")
def expected(net):
    return [answer(Pipeline(net, setup_of(precision=1)), pair) for pair in PAIRS]


@pytest.mark.parametrize("lanes", [1, 3])
def test_lanes_give_what_the_cpu_gives_in_any_order_and_number(net, expected, lanes):
    pipeline, cuda = on_lanes(net, lanes)
    order = [0, 3, 1, 5, 2, 4, 4, 0, 5]
    assert [answer(pipeline, PAIRS[k]) for k in order] == [expected[k] for k in order]
    # One at a time, all of it is done by one lane.
    assert cuda.captures == 1
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda k: answer(pipeline, PAIRS[k]), order * 2)) == [expected[k] for k in order * 2]
    assert cuda.captures <= lanes


def test_a_graph_is_made_once_for_each_job_and_repeated(net):
    pipeline, cuda = on_lanes(net)
    clip, ref = PAIRS[0]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:9] = 1
    for _ in range(2):
        pipeline.aligned(clip, ref, out=empty())
        pipeline.aligned(clip, ref, mask, out=empty())
        pipeline.flow(clip, ref)
    assert cuda.captures == 3
    assert [event for event in cuda.events if event != "device waits"] == ["replay", "record", "wait"] * 6


def test_jobs_of_one_lane_do_not_disturb_each_other(net, expected):
    pipeline, _ = on_lanes(net)
    for k in (0, 1, 2):
        flow, residual = pipeline.flow(*PAIRS[k])
        assert residual == expected[k][0].residual
        assert shift_statistics(flow)[0] == pytest.approx(expected[k][0].mean_shift, rel=1e-4)
        assert answer(pipeline, PAIRS[k]) == expected[k]


def test_several_frames_wait_for_the_device_at_the_same_time(net):
    held = threading.Event()
    pipeline, cuda = on_lanes(net, 3, held=held)
    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(answer, pipeline, pair) for pair in PAIRS[:5]]
        deadline = threading.Event()
        for _ in range(600):
            if cuda.events.count("wait") == 3:
                break
            deadline.wait(0.05)
        # Three are in flight, the others wait for a lane.
        assert cuda.events.count("wait") == cuda.events.count("replay") == 3
        assert not LAUNCHING.locked()
        held.set()
        for future in futures:
            future.result(timeout=60)
    assert cuda.events.count("wait") == 5


def test_where_no_graph_can_be_made_it_says_so_and_works_without(net, expected, caplog):
    pipeline, cuda = on_lanes(net, fails={1: RuntimeError("operation not permitted\nwhen stream is capturing")})
    with caplog.at_level(logging.WARNING, "vs_align"):
        assert [answer(pipeline, pair) for pair in PAIRS] == expected
    assert [record.getMessage() for record in caplog.records] == [
        "vs_align.spatial: no CUDA graph could be made, which costs speed "
        "(operation not permitted when stream is capturing)."
    ]
    assert "replay" not in cuda.events


def test_too_little_memory_for_all_lanes_leaves_fewer(net, expected, caplog):
    full = {2: torch.cuda.OutOfMemoryError("CUDA out of memory"), 3: torch.cuda.OutOfMemoryError("CUDA out of memory")}
    held = threading.Event()
    pipeline, cuda = on_lanes(net, 3, fails=full, held=held)
    with ThreadPoolExecutor(4) as pool, caplog.at_level(logging.WARNING, "vs_align"):
        futures = [pool.submit(answer, pipeline, pair) for pair in PAIRS]
        for _ in range(600):
            if pipeline.lanes == 1:
                break
            threading.Event().wait(0.05)
        held.set()
        assert [future.result(timeout=60) for future in futures] == expected
    assert pipeline.lanes == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "empty cache" in cuda.events


def test_too_little_memory_for_one_lane_is_one_line(net, expected):
    pipeline, _ = on_lanes(net, 1, fails={1: torch.cuda.OutOfMemoryError("CUDA out of memory")})
    with pytest.raises(GpuError, match=r"^too little GPU memory: 96x64 .*; use smaller pictures, .*\.$"):
        answer(pipeline, PAIRS[0])
    # It is tried again: somebody may have made room.
    assert answer(pipeline, PAIRS[0]) == expected[0]


def test_a_fault_between_launch_and_end_waits_for_the_device_and_frees_the_lane(net, expected):
    pipeline, cuda = on_lanes(net)
    wait = _Event.synchronize
    try:
        _Event.synchronize = lambda self: (_ for _ in ()).throw(RuntimeError("CUDA error"))
        with pytest.raises(RuntimeError, match="CUDA error"):
            answer(pipeline, PAIRS[0])
    finally:
        _Event.synchronize = wait
    assert cuda.events[-1] == "stream waits"
    assert answer(pipeline, PAIRS[1]) == expected[1]


def kept(cuda):
    """How many graphs of a stand-in there still are."""
    gc.collect()
    return sum(type(thing) is _Graph and thing.cuda is cuda for thing in gc.get_objects())


def test_closing_gives_everything_back(net):
    pipeline, cuda = on_lanes(net, 3)
    answer(pipeline, PAIRS[0])
    assert kept(cuda) == 1
    pipeline.close()
    assert kept(cuda) == 0
    assert cuda.events[-2:] == ["device waits", "empty cache"]
    with pytest.raises(GpuError, match="ended"):
        answer(pipeline, PAIRS[0])
    pipeline.close()


def test_closing_while_frames_are_in_flight_lets_them_end_and_refuses_those_that_wait(net, expected):
    held = threading.Event()
    pipeline, cuda = on_lanes(net, 1, held=held)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(answer, pipeline, PAIRS[0]) for _ in range(4)]
        for _ in range(600):
            if "wait" in cuda.events:
                break
            threading.Event().wait(0.05)
        pipeline.close()
        held.set()
        faults = [future.exception(timeout=60) for future in futures]
    assert sorted(type(fault).__name__ for fault in faults) == ["GpuError"] * 3 + ["NoneType"]
    ended = next(future for future, fault in zip(futures, faults, strict=True) if fault is None)
    assert ended.result() == expected[0]
    del ended, futures, faults
    assert kept(cuda) == 0
    assert cuda.events[-1] == "empty cache"


def test_streams_are_used_again_and_graphs_made_on_threads_of_their_own(net):
    """What libraries keep for each stream and thread does not grow with every script that is loaded."""
    cuda = StandIn()
    for closes in (True, False, True):
        pipeline = Pipeline(net, setup_of(precision=1), CPU, 2, cuda)
        answer(pipeline, PAIRS[0])
        if closes:
            pipeline.close()
        del pipeline
        gc.collect()
    assert cuda.streams == 2
    assert cuda.captures == 3
    assert threading.get_ident() not in cuda.capturing


def test_on_the_cpu_closing_refuses_later_frames(net):
    pipeline = Pipeline(net, setup_of(precision=1))
    answer(pipeline, PAIRS[0])
    pipeline.close()
    with pytest.raises(GpuError, match="ended"):
        answer(pipeline, PAIRS[0])


# ---------------------------------------------------------------- memory


def large(width, height, kind="8", **options):
    return replace(
        setup_of(**options), clip=Picture(width, height, *TYPES[kind][:2]), ref=Picture(width, height, "uint8", 255)
    )


def test_what_is_needed_grows_with_pictures_and_lanes():
    setup = large(1440, 1080)
    assert needed_bytes(setup, 3) - needed_bytes(setup, 2) == needed_bytes(setup, 2) - needed_bytes(setup, 1) > 0
    assert needed_bytes(large(2880, 2160), 1) > 3 * needed_bytes(setup, 1)
    assert needed_bytes(large(1440, 1080, "float"), 1) > needed_bytes(setup, 1)
    # Three frames of this size fit a card of 4 GB.
    assert needed_bytes(setup, 3) < 3 << 30


def test_what_is_needed_is_more_than_what_the_work_holds_on_the_cpu(whole_net):
    """The CPU works in float32 throughout, CUDA partly in half."""
    for size in ((WIDTH, HEIGHT), (2 * WIDTH, 2 * HEIGHT), (WIDTH // 2, HEIGHT // 2)):
        setup = setup_of(size=size, alpha=True)
        job, work = Job(masked=True), FrameWork(whole_net, setup, CPU)
        given = {name: buffer.tensor(CPU) for name, buffer in setup.given(job).items()}
        with torch.inference_mode():
            work(job, given)
            with torch.profiler.profile(profile_memory=True) as profile:
                work(job, given)
        changes = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
        held = np.cumsum([event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())])
        assert held.max() < needed_bytes(setup, 2) - needed_bytes(setup, 1)


def test_as_many_lanes_as_fit():
    setup = large(1440, 1080)
    for lanes in (1, 2, 3):
        assert lanes_that_fit(setup, needed_bytes(setup, lanes)) == lanes
    assert lanes_that_fit(setup, 80 << 30) == memory.LANES
    with pytest.raises(GpuError) as error:
        lanes_that_fit(setup, needed_bytes(setup, 1) - 1)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(
        "too little GPU memory: 1440x1080 needs about 0.9 GiB at any precision and 0.9 GiB are free"
    )
    with pytest.raises(GpuError) as error:
        lanes_that_fit(setup, 0)
    assert "would fit" not in str(error.value)


def test_the_size_that_a_message_names_does_fit():
    for free in (400 << 20, 500 << 20, 800 << 20):
        with pytest.raises(GpuError, match=r"both at \d+x\d+ would fit") as error:
            lanes_that_fit(large(1440, 1080), free)
        width, height = map(int, str(error.value).split("both at ")[1].split(" ")[0].split("x"))
        assert width / height == pytest.approx(4 / 3, abs=0.01)
        assert lanes_that_fit(large(width, height), free) == 1
