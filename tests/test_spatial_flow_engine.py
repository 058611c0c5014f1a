"""`vs_align.spatial` with the engine "flow", through the real core: what it promises holds here, too."""

import functools
import logging
import math
from concurrent.futures import wait

import helpers
import numpy as np
import pytest
import vapoursynth as vs
from helpers import EACH_RGB_FORMAT, Waves, drawn, held, moving, planes, same_picture
from test_temporal_lazy import threads

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from still_net import StillNet  # noqa: E402

import vs_align  # noqa: E402
from vs_align import checks  # noqa: E402
from vs_align.flow.network import memory, pipeline, weights  # noqa: E402
from vs_align.flow.network.model import AlignNet  # noqa: E402
from vs_align.flow.network.pipeline import Pipeline  # noqa: E402

__all__ = ["threads"]

pytestmark = pytest.mark.torch

WIDTH, HEIGHT = 160, 112
INNER = np.s_[12:-12, 12:-12]

one_line = functools.partial(helpers.one_line, "vs_align.spatial")


@pytest.fixture(autouse=True)
def _weights(tmp_path, monkeypatch):
    """In the network's place is one that finds no displacement: what follows has to find the small ones."""
    weights.save_weights(tmp_path / "still.safetensors", StillNet())
    monkeypatch.setenv(weights.FILES.env, str(tmp_path / "still.safetensors"))
    monkeypatch.setattr(weights, "AlignNet", StillNet)


@pytest.fixture
def asked(monkeypatch):
    """How often the network is asked."""
    seen = []
    run = Pipeline._run

    def counted(self, flow, *given):
        seen.append("flow" if flow else "picture")
        return run(self, flow, *given)

    monkeypatch.setattr(Pipeline, "_run", counted)
    return seen


def spatial(clip, ref, *arguments, **options):
    return vs_align.spatial(clip, ref, *arguments, engine="flow", **options)


def textured(dx=0.0, dy=0.0, seed=0, format=vs.RGB24, width=WIDTH, height=HEIGHT, length=1, gain=1.0):
    """A picture known at every point, seen from (dx, dy)."""
    y, x = np.mgrid[:height, :width] * np.float32(1)
    scene = Waves(seed, shortest=7)
    parts = [scene(x * WIDTH / width + dx, y * HEIGHT / height + dy) / 255] * 3
    return held(drawn(lambda n: gain * np.stack(parts), length, format))


def difference(a, b, n=0):
    """The mean difference of two clips' frames away from the border, of 255."""
    peak = (1 << a.format.bits_per_sample) - 1 if a.format.sample_type == vs.INTEGER else 1
    pairs = zip(planes(a, n), planes(b, n), strict=True)
    return 255 / peak * np.mean([np.abs(x[INNER].astype(float) - y[INNER].astype(float)).mean() for x, y in pairs])


def numbers(clip, n=0):
    props = clip.get_frame(n).props
    return props["AlignMeanShift"], props["AlignMaxShift"], props["AlignResidual"]


# ---------------------------------------------------------------- what comes out


@EACH_RGB_FORMAT
def test_a_shifted_picture_is_put_where_it_belongs_in_every_format(format):
    clip, ref = textured(1.3, -0.8, format=format), textured()
    aligned = spatial(clip, ref)
    assert aligned.format.id == format
    wanted = textured(format=format)
    assert difference(aligned, wanted) < 0.12 * difference(clip, wanted)
    mean, most, residual = numbers(aligned)
    assert mean == pytest.approx(math.hypot(1.3, 0.8), abs=0.1)
    assert mean <= most < 3
    assert residual < 0.1


@pytest.mark.parametrize("precision", [1, 2, 3, 4])
def test_the_picture_is_nearly_that_of_the_other_engine(precision):
    clip, ref = textured(0.8, 0.5), textured()
    ours, other = (
        spatial(clip, ref, precision=precision),
        vs_align.spatial(clip, ref, precision=precision, engine="dis"),
    )
    assert difference(ours, other) < 1
    np.testing.assert_allclose(numbers(ours)[0::2], numbers(other)[0::2], atol=0.05)


@pytest.mark.parametrize("size", [(320, 224), (80, 56), (200, 100)])
def test_clips_of_another_size(size):
    clip, ref = textured(0.6, -0.4, width=size[0], height=size[1]), textured()
    aligned = spatial(clip, ref)
    assert (aligned.width, aligned.height) == (WIDTH, HEIGHT)
    resized = vs_align.spatial(clip, ref.std.BlankClip())
    assert difference(aligned, ref) < 0.35 * difference(resized, ref)


def test_the_output_has_refs_length_and_rate_and_the_last_frame_of_clip_is_held():
    clip = held(drawn(moving(64, 48, seed=1), 3, vs.RGB48, (30, 1)))
    ref = held(drawn(moving(64, 48, seed=1), 6, vs.RGB24, (24000, 1001)))
    aligned = spatial(clip, ref)
    assert (aligned.num_frames, aligned.fps, aligned.format.id) == (6, ref.fps, vs.RGB48)
    assert aligned.get_frame(5).format.id == vs.RGB48


@EACH_RGB_FORMAT
@pytest.mark.parametrize("stabilize", [0, 1])
def test_identical_frames_come_out_bit_for_bit_and_the_network_is_not_asked(asked, format, stabilize):
    clip = textured(format=format, length=2)
    aligned = spatial(clip, textured(format=format, length=2), stabilize=stabilize)
    assert same_picture(aligned, 1, clip, 1)
    assert numbers(aligned, 1) == (0, 0, 0)
    assert not asked


@EACH_RGB_FORMAT
def test_unrelated_pictures_are_left_alone(format):
    clip = textured(seed=1, format=format).std.SetFrameProps(_FieldBased=1)
    for ref in (textured(seed=2), textured().std.BlankClip()):
        aligned = spatial(clip, ref)
        assert same_picture(aligned, 0, clip, 0)
        assert numbers(aligned)[:2] == (0, 0)
        assert numbers(aligned)[2] > 0.5
        assert aligned.get_frame(0).props["_FieldBased"] == 1


def test_properties_come_from_clip_and_timing_and_shape_from_ref():
    clip = textured(1, 0.5).std.SetFrameProps(
        _DurationNum=1, _DurationDen=25, _AbsoluteTime=3.0, _FieldBased=1, _Matrix=0, Mine="kept", _SARNum=4
    )
    ref = textured().std.SetFrameProps(_DurationNum=1001, _DurationDen=24000, Its=1).std.RemoveFrameProps("_SARNum")
    found = dict(spatial(clip, ref).get_frame(0).props)
    assert (found["_DurationNum"], found["_DurationDen"], found["Mine"], found["_Matrix"]) == (1001, 24000, "kept", 0)
    assert not {"_AbsoluteTime", "_FieldBased", "Its", "_SARNum", "_Alpha"} & found.keys()
    assert all(isinstance(found[name], float) for name in ("AlignMeanShift", "AlignMaxShift", "AlignResidual"))


@pytest.mark.parametrize("format", [vs.RGBH, vs.RGBS])
def test_light_beyond_white_is_kept(format):
    clip, ref = textured(0.9, 0.3, format=format, gain=4.0), textured(format=format, gain=4.0)
    aligned = spatial(clip, ref)
    assert max(part.max() for part in planes(aligned, 0)) > 3
    assert difference(aligned, ref) < 0.15 * difference(clip, ref)


@pytest.mark.parametrize("format", [vs.RGBH, vs.RGBS])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_sample_is_one_bad_sample(asked, format, value):
    clip, ref = textured(1.2, 0.6, format=format), textured(format=format)
    sound = planes(spatial(clip, ref), 0)
    asked.clear()

    def spoilt(node):
        def spoil(n, f):
            frame = f.copy()
            np.asarray(frame[1])[50, 60] = value
            return frame

        return held(node.std.ModifyFrame(node, spoil))

    found = planes(spatial(spoilt(clip), ref), 0)
    bad = ~np.isfinite(found[1].astype(np.float64))
    assert bad.sum() == 1
    assert abs(np.argwhere(bad)[0] - (51, 61)).max() <= 1
    assert np.isfinite(found[0].astype(np.float64)).all()
    away = np.abs(found[1].astype(float) - sound[1].astype(float))
    away[45:58, 55:68] = 0
    assert away[INNER].max() < 0.01
    found = planes(spatial(clip, spoilt(ref)), 0)
    assert np.isfinite(np.array(found, np.float64)).all()
    assert asked == ["flow", "picture"]


def test_a_frame_of_nothing_but_nan_passes():
    clip = held(textured(format=vs.RGBS).std.Expr("x 0 * 0 /"))
    assert np.isnan(planes(clip, 0)[0]).all() or not np.isfinite(planes(clip, 0)[0]).any()
    for pair in ((clip, textured()), (textured(), clip)):
        assert numbers(spatial(*pair))[2] > 0.5


SIZES = [(1, 1), (2, 2), (1, 9), (15, 40), (33, 17)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("other", SIZES)
def test_sizes_however_odd_or_small(size, other):
    clip = drawn(moving(*size, seed=1), 3, vs.RGBS)
    ref = drawn(moving(*other, seed=2), 3, vs.RGB24)
    for options in ({"precision": 1}, {"alpha": True, "stabilize": 1, "mask": clip}, {"wide_search": True}):
        for part in planes(spatial(clip, ref, **options), 1):
            assert part.shape == other[::-1]
            assert np.isfinite(part.astype(np.float64)).all()


# ---------------------------------------------------------------- options


def test_every_option_reaches_the_estimate(monkeypatch):
    seen = []

    def record(net, clip, ref, mask, options, start=None):
        seen.append((options.precision, options.iterations, options.wide_search, options.lq_input, start is not None))
        return align(net, clip, ref, mask, options, start)

    align = pipeline.FrameWork.__call__.__globals__["align"]
    monkeypatch.setitem(pipeline.FrameWork.__call__.__globals__, "align", record)
    options = ({}, {"precision": 1, "iterations": 2}, {"wide_search": True}, {"lq_input": True, "precision": 4})
    for chosen in options:
        spatial(textured(1), textured(), **chosen).get_frame(0).close()
    assert seen == [
        (3, 1, False, False, False),
        (1, 2, False, False, False),
        (3, 1, True, False, True),
        (4, 1, False, True, False),
    ]


def test_what_is_masked_does_not_draw():
    clip, ref = textured(1.5, -1), textured()
    box = ref.std.BlankClip(width=80, height=24, color=[255, 255, 255])

    def put(n, f):
        frame = f[0].copy()
        for p in range(3):
            np.asarray(frame[p])[60:84, 40:120] = np.asarray(f[1][p])
        return frame

    def written(node):
        return held(node.std.ModifyFrame([node, box], put))

    lettered, mask = written(ref), written(ref.std.BlankClip(color=[0, 0, 0]))
    wanted = planes(ref, 0)[0][62:82, 44:116].astype(float)

    def off(node):
        return np.abs(planes(node, 0)[0][62:82, 44:116] - wanted).mean()

    assert off(spatial(clip, lettered, mask)) < 0.25 * off(clip)
    without = spatial(clip, lettered)
    for nothing in (
        mask.std.BlankClip(color=[0, 0, 0]),
        mask.std.BlankClip(format=vs.GRAY8, color=0, width=7, height=9),
    ):
        assert same_picture(spatial(clip, lettered, nothing), 0, without, 0)
    assert not same_picture(spatial(clip, lettered, mask), 0, without, 0)


@pytest.mark.parametrize("wide_search", [True, False])
def test_a_rotation_is_found_from_a_homography_also_where_nobody_asks_for_one(wide_search):
    angle = np.float32(np.deg2rad(20))
    y, x = np.mgrid[:240, :320] * np.float32(1)
    scene = Waves(4, shortest=6)
    turned = (
        (x - 160) * np.cos(angle) - (y - 120) * np.sin(angle),
        (x - 160) * np.sin(angle) + (y - 120) * np.cos(angle),
    )
    ref = held(drawn(lambda n: np.stack([scene(turned[0] + 160, turned[1] + 120) / 255] * 3), 1, vs.RGB24))
    clip = held(drawn(lambda n: np.stack([scene(x, y) / 255] * 3), 1, vs.RGB24))
    aligned = spatial(clip, ref, wide_search=wide_search)
    assert numbers(aligned)[2] < 0.1
    assert numbers(aligned)[0] > 20
    middle = np.s_[60:180, 80:240]
    away = np.abs(planes(aligned, 0)[0][middle].astype(float) - planes(ref, 0)[0][middle])
    assert away.mean() < 3


@EACH_RGB_FORMAT
def test_alpha_is_white_where_the_output_comes_from_inside_clip(format):
    clip, ref = textured(2.0, 0, format=format), textured()
    frame = spatial(clip, ref, alpha=True).get_frame(0)
    alpha = frame.props["_Alpha"]
    assert alpha.format.id == frame.format.replace(color_family=vs.GRAY).id
    samples = np.asarray(alpha[0])
    white = (1 << frame.format.bits_per_sample) - 1 if frame.format.sample_type == vs.INTEGER else 1
    assert set(np.unique(samples)) == {0, white}
    # What ref shows at its left lies left of clip.
    assert not samples[20:-20, 0].any()
    assert (samples[:, 4:] == white).mean() > 0.98
    still = spatial(clip, textured(seed=9), alpha=True).get_frame(0)
    assert (np.asarray(still.props["_Alpha"][0]) == white).all()


def test_an_alpha_that_clip_has_goes_along(asked):
    clip, ref = textured(1.5, 0.5), textured()
    own = held(textured(1.5, 0.5, format=vs.GRAY16))
    clip = clip.std.ClipToProp(own, "_Alpha")
    frame = spatial(clip, ref).get_frame(0)
    assert asked == ["flow"]
    found, wanted = np.asarray(frame.props["_Alpha"][0]), planes(textured(format=vs.GRAY16), 0)[0]
    away = np.abs(found[INNER].astype(float) - wanted[INNER]).mean()
    assert away < 0.15 * np.abs(planes(own, 0)[0][INNER].astype(float) - wanted[INNER]).mean()


@pytest.mark.parametrize("alpha", [False, True])
def test_stabilize_warps_by_the_flows_of_the_frames_around(asked, alpha):
    clip, ref = textured(1.2, -0.5, length=4), textured(length=4)
    aligned = spatial(clip, ref, stabilize=1, alpha=alpha)
    assert difference(aligned, ref, 2) < 0.12 * difference(clip, ref)
    assert asked == ["flow"] * 3
    np.testing.assert_allclose(numbers(aligned, 2), numbers(spatial(clip, ref), 2), atol=0.01)
    assert ("_Alpha" in aligned.get_frame(2).props) == alpha


# ---------------------------------------------------------------- order, threads


def scenes(length=8):
    clip = held(drawn(moving(64, 48, seed=1, grain=0.03), length, vs.RGB24))
    ref = held(drawn(moving(64, 48, seed=1, grain=0.02), length, vs.RGB48))
    return clip, ref


def answers(aligned, order):
    futures = {n: aligned.get_frame_async(n) for n in order}
    wait(futures.values())
    found = []
    for n in sorted(futures):
        frame = futures[n].result()
        parts = [bytes(frame[p]) for p in range(3)]
        found.append((*parts, *(frame.props[name] for name in ("AlignMeanShift", "AlignMaxShift", "AlignResidual"))))
    return found


@pytest.mark.parametrize("options", [{"precision": 1}, {"stabilize": 1, "precision": 1}], ids=["plain", "stabilize"])
def test_any_order_and_number_of_threads_give_the_same_answers(threads, options):
    clip, ref = scenes()
    threads(1)
    expected = answers(spatial(clip, ref, **options), range(8))
    assert len(set(expected)) == 8
    for number in (1, 2, 4):
        threads(number)
        for order in (range(8), range(7, -1, -1), [3, 0, 7, 1, 6, 2, 5, 4]):
            assert answers(spatial(clip, ref, **options), order) == expected


def test_torch_has_its_threads_back_afterwards():
    threads = torch.get_num_threads()
    spatial(*scenes(2)).get_frame(0).close()
    assert torch.get_num_threads() == threads


def test_what_is_held_is_given_back_when_the_environment_goes(monkeypatch):
    registered, closed = [], []
    monkeypatch.setattr(vs, "register_on_destroy", registered.append)
    monkeypatch.setattr(Pipeline, "close", lambda self: closed.append(id(self)))
    clip, ref = scenes(2)
    aligned = spatial(clip, ref)
    vs_align.spatial(clip, ref, engine="dis")
    assert len(registered) == 1
    registered[0]()
    assert len(closed) == 1
    closed.clear()
    del aligned


# ---------------------------------------------------------------- which engine, which device, which weights


def test_on_a_cpu_it_says_once_that_it_is_slow(caplog, capsys):
    clip, ref = scenes(3)
    with caplog.at_level(logging.INFO, "vs_align"):
        for device in (None, "cpu", vs_align.Backend.CPU):
            caplog.clear()
            aligned = spatial(clip, ref, device=device)
            for n in range(3):
                aligned.get_frame(n).close()
            (record,) = caplog.records
            assert record.levelname == "WARNING"
            assert record.getMessage() == (
                'vs_align.spatial: the engine "flow" is slow on a CPU; "dis" is made for it.'
            )
    assert capsys.readouterr().out == ""


def test_an_enumeration_names_it_as_well():
    clip, ref = textured(1), textured()
    aligned = vs_align.spatial(clip, ref, engine=vs_align.FlowEngine.FLOW)
    assert same_picture(aligned, 0, spatial(clip, ref), 0)


class Gpu:
    """Stands in for `torch.cuda` where a device is chosen."""

    def __init__(self, monkeypatch, free=64 << 30, devices=2):
        self.opened = []
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(checks, "cuda_driver_devices", lambda: devices)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 << 30))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 << 20)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 << 20)
        monkeypatch.setattr(StillNet, "to", lambda net, device: net)
        monkeypatch.setattr(pipeline, "Pipeline", self.pipeline)

    def pipeline(self, net, setup, device, lanes=0):
        self.opened.append((str(device), lanes))
        self._monkeypatch.setattr(Pipeline, "lanes", lanes)
        return Pipeline(net, setup)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"engine": "flow"}, "cuda:0"),
        ({"engine": "flow", "device": "cuda"}, "cuda:0"),
        ({"device": "cuda:1"}, "cuda:1"),
        ({"device": "cuda"}, "cuda:0"),
        ({"backend": vs_align.Backend.CUDA}, "cuda:0"),
        ({"engine": "flow", "device": "cpu"}, "cpu"),
    ],
)
def test_the_device_it_works_on_where_there_is_a_gpu(monkeypatch, caplog, options, where):
    gpu = Gpu(monkeypatch)
    with caplog.at_level(logging.INFO, "vs_align"):
        vs_align.spatial(textured(1), textured(), **options)
    assert gpu.opened == [(where, 0 if where == "cpu" else memory.LANES)]
    assert bool(caplog.records) == (where == "cpu")


def test_fewer_frames_in_flight_where_memory_is_short_and_a_note(monkeypatch, caplog):
    # As if each frame in flight needed 1 GiB.
    monkeypatch.setattr(memory, "needed_bytes", lambda setup, lanes: lanes << 30)
    gpu = Gpu(monkeypatch, free=(2 << 30) + (512 << 20))
    with caplog.at_level(logging.INFO, "vs_align"):
        vs_align.spatial(textured(), textured(), device="cuda")
    assert gpu.opened == [("cuda:0", 2)]
    assert [record.getMessage() for record in caplog.records] == [
        "vs_align.spatial: the GPU memory that is free is enough for 2 frames in flight, not 3, which costs speed."
    ]


def test_a_gpu_with_too_little_memory(monkeypatch):
    Gpu(monkeypatch, free=100 << 20)
    with pytest.raises(RuntimeError) as error:
        vs_align.spatial(textured(), textured(), device="cuda")
    one_line(error, r'too little GPU memory: 160x112 needs about .* engine="dis" or device="cpu"\.$')


def test_too_little_memory_at_the_first_frame_is_one_line_of_the_function(monkeypatch):
    def full(self, *given):
        raise memory.GpuError(memory.too_little(self._setup, None))

    monkeypatch.setattr(Pipeline, "_run", full)
    for options in ({}, {"stabilize": 1}):
        with pytest.raises(vs.Error, match=r"vs_align\.spatial: too little GPU memory: 160x112 needs"):
            spatial(textured(1), textured(), **options).get_frame(0)


def test_a_build_of_torch_without_cuda(monkeypatch):
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for options in ({"device": "cuda"}, {"device": "cuda:0", "engine": "flow"}):
        with pytest.raises(RuntimeError) as error:
            vs_align.spatial(textured(), textured(), **options)
        one_line(error, r"device='cuda.*needs a build of PyTorch with CUDA")


def test_weights_by_argument_come_before_those_of_the_environment(tmp_path, monkeypatch):
    other = StillNet()
    torch.nn.init.constant_(other.offset, 0.5)
    weights.save_weights(tmp_path / "other.safetensors", other)
    clip, ref = textured(1.2), textured()
    usual = spatial(clip, ref)
    for path in (tmp_path / "other.safetensors", str(tmp_path / "other.safetensors")):
        assert not same_picture(spatial(clip, ref, weights=path), 0, usual, 0)
    monkeypatch.setenv(weights.FILES.env, str(tmp_path / "other.safetensors"))
    assert not same_picture(spatial(clip, ref), 0, usual, 0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"there is no flow weights file at .*x\.safetensors"),
        (b"", "cannot be read as a safetensors file"),
        (b"no weights" * 99, "cannot be read as a safetensors file"),
    ],
)
def test_weights_that_are_of_no_use(tmp_path, content, says):
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RuntimeError) as error:
        spatial(textured(), textured(), weights=path)
    one_line(error, says)


def test_the_whole_network_before_it_is_trained_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "AlignNet", AlignNet)
    weights.save_weights(tmp_path / "untrained.safetensors", AlignNet())
    clip, ref = textured(0.5, format=vs.RGB48), textured()
    for options in ({}, {"precision": 1, "wide_search": True, "iterations": 2, "alpha": True}, {"stabilize": 1}):
        aligned = spatial(clip, ref, weights=tmp_path / "untrained.safetensors", **options)
        assert 0 <= numbers(aligned)[2] <= 1


# ---------------------------------------------------------------- on a GPU, where there is one

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@needs_gpu
@pytest.mark.parametrize("precision", [1, 2, 3, 4])
@EACH_RGB_FORMAT
def test_a_gpu_gives_what_the_cpu_gives(format, precision):
    clip, ref = textured(1.3, -0.8, format=format), textured()
    ours, other = (spatial(clip, ref, precision=precision, device=device, alpha=True) for device in ("cuda", "cpu"))
    assert difference(ours, other) < 0.5
    np.testing.assert_allclose(numbers(ours), numbers(other), atol=0.02)


@needs_gpu
def test_a_gpu_gives_the_same_in_any_order(threads, caplog):
    clip, ref = scenes()
    threads(4)
    with caplog.at_level(logging.WARNING, "vs_align"):
        expected = answers(spatial(clip, ref, device="cuda"), range(8))
        for order in (range(7, -1, -1), [3, 0, 7, 1, 6, 2, 5, 4]):
            assert answers(spatial(clip, ref, device="cuda"), order) == expected
    # Graphs could be made.
    assert not caplog.records


@needs_gpu
def test_a_gpu_gets_its_memory_back():
    clip, ref = scenes(2)
    before = None
    for _ in range(5):
        aligned = spatial(clip, ref, device="cuda")
        aligned.get_frame(0).close()
        del aligned
        torch.cuda.empty_cache()
        before = before or torch.cuda.memory_allocated()
    assert torch.cuda.memory_allocated() <= before + (1 << 20)
