"""Bad calls of `vs_align.spatial` give one clear line that names it; odd but sound ones run."""

import logging
from functools import partial

import helpers
import numpy as np
import pytest
import vapoursynth as vs
from helpers import drawn, moving, planes

import vs_align
from vs_align import checks
from vs_align.filters.engines import check_engine
from vs_align.flow.align import Alignment


def blank(format: int = vs.RGB24, width: int = 32, height: int = 24, length: int = 4) -> vs.VideoNode:
    return vs.core.std.BlankClip(None, width, height, format, length, keep=True)


def changing_format() -> vs.VideoNode:
    return vs.core.std.Splice([blank(), blank(vs.RGB48)], mismatch=True)


def changing_size() -> vs.VideoNode:
    return vs.core.std.Splice([blank(), blank(width=64)], mismatch=True)


def sound() -> vs.AudioNode:
    return vs.core.std.BlankAudio(length=1000)


def rgb96() -> vs.VideoNode:
    return blank(vs.core.query_video_format(vs.RGB, vs.INTEGER, 32).id)


def silent() -> vs.VideoNode:
    return blank().std.RemoveFrameProps()


def yuv() -> vs.VideoNode:
    return blank(vs.YUV420P8)


CONVERT = r"clip must be RGB, not YUV420P8; .*core\.resize\.Bicubic\(clip, format=vs\.RGB24, matrix_in_s=\"709\"\)"

# What is wrong: arguments other than (blank(), blank()), the exception, what its message says.
BAD = {
    "clip missing": ({"clip": None}, TypeError, r"clip .*None"),
    "clip a string": ({"clip": "a.mkv"}, TypeError, r"clip .*str"),
    "clip audio": ({"clip": sound}, TypeError, r"clip .*AudioNode"),
    "ref missing": ({"ref": None}, TypeError, r"ref .*None"),
    "ref an array": ({"ref": lambda: np.zeros((4, 4))}, TypeError, r"ref .*ndarray"),
    "mask a number": ({"mask": 3}, TypeError, r"mask .*int"),
    "mask False": ({"mask": False}, TypeError, r"mask .*bool"),
    "mask a frame": ({"mask": lambda: blank().get_frame(0)}, TypeError, r"mask .*VideoFrame"),
    "clip YUV": ({"clip": yuv}, ValueError, CONVERT),
    "ref YUV": ({"ref": yuv}, ValueError, r"ref must be RGB, not YUV420P8; .*Bicubic\(ref, "),
    "clip GRAY": (
        {"clip": lambda: blank(vs.GRAY8)},
        ValueError,
        r"clip must be RGB, not Gray8; .*Bicubic\(clip, format=vs\.RGB24\)",
    ),
    "ref GRAY": ({"ref": lambda: blank(vs.GRAYS)}, ValueError, r"ref must be RGB, not GrayS; convert"),
    "clip of 32 bit integers": ({"clip": rgb96}, ValueError, r"clip is .*16 bits"),
    "ref of 32 bit integers": ({"ref": rgb96}, ValueError, r"ref is .*16 bits"),
    "clip changes format": ({"clip": changing_format}, ValueError, r"clip .*constant format"),
    "clip changes size": ({"clip": changing_size}, ValueError, r"clip .*constant size"),
    "ref changes format": ({"ref": changing_format}, ValueError, r"ref .*constant format"),
    "ref changes size": ({"ref": changing_size}, ValueError, r"ref .*constant size"),
    "mask changes format": ({"mask": changing_format}, ValueError, r"mask .*constant format"),
    "mask changes size": ({"mask": changing_size}, ValueError, r"mask .*constant size"),
    "clip too wide": ({"clip": lambda: blank(width=32767, height=2)}, ValueError, r"clip is 32767x2; .*32766"),
    "ref too high": ({"ref": lambda: blank(width=2, height=40000)}, ValueError, r"ref is 2x40000; .*32766"),
    "precision 0": ({"precision": 0}, ValueError, r"precision .*1, 2, 3 or 4, not 0"),
    "precision 5": ({"precision": 5}, ValueError, r"precision .*1, 2, 3 or 4, not 5"),
    "precision negative": ({"precision": -1}, ValueError, r"precision .*1, 2, 3 or 4"),
    "precision True": ({"precision": True}, TypeError, r"precision .*bool True"),
    "precision numpy True": ({"precision": np.True_}, TypeError, r"precision .*bool"),
    "precision a float": ({"precision": 2.0}, TypeError, r"precision .*float 2\.0"),
    "precision a string": ({"precision": "3"}, TypeError, r"precision .*str"),
    "precision None": ({"precision": None}, TypeError, r"precision .*None"),
    "precision of temporal": (
        {"precision": vs_align.TemporalPrecision.PLANESTATS},
        TypeError,
        r"precision .*TemporalPrecision",
    ),
    "iterations 0": ({"iterations": 0}, ValueError, r"iterations .*at least 1.*0"),
    "iterations negative": ({"iterations": -3}, ValueError, r"iterations .*at least 1"),
    "iterations a float": ({"iterations": 2.0}, TypeError, r"iterations .*integer"),
    "iterations None": ({"iterations": None}, TypeError, r"iterations .*integer"),
    "iterations True": ({"iterations": True}, TypeError, r"iterations .*integer, not bool True"),
    "iterations False": ({"iterations": False}, TypeError, r"iterations .*integer, not bool False"),
    "lq_input a number": ({"lq_input": 1}, TypeError, r"lq_input .*True or False"),
    "lq_input None": ({"lq_input": None}, TypeError, r"lq_input .*True or False"),
    "wide_search a number": ({"wide_search": 0}, TypeError, r"wide_search .*True or False"),
    "wide_search a string": ({"wide_search": "yes"}, TypeError, r"wide_search .*True or False"),
    "alpha a number": ({"alpha": 1}, TypeError, r"alpha .*True or False"),
    "alpha a clip": ({"alpha": blank}, TypeError, r"alpha .*True or False"),
    "stabilize negative": ({"stabilize": -1}, ValueError, r"stabilize .*at least 0"),
    "stabilize a float": ({"stabilize": 1.5}, TypeError, r"stabilize .*integer"),
    "stabilize True": ({"stabilize": True}, TypeError, r"stabilize .*integer"),
    "engine unknown": ({"engine": "raft"}, ValueError, r"engine .*'dis', 'flow', not 'raft'"),
    "engine upper case": ({"engine": "FLOW"}, ValueError, r"engine .*flow"),
    "engine of temporal": ({"engine": vs_align.Engine.TORCH}, ValueError, r"engine .*dis"),
    "engine a number": ({"engine": 1}, (TypeError, ValueError), r"engine .*dis"),
    "weights a number": ({"weights": 3, "engine": "flow"}, TypeError, r"weights .*path of a \.safetensors .*int"),
    "weights a mapping": ({"weights": lambda: {}, "engine": "flow"}, TypeError, r"weights .*path.*dict"),
    "weights True": ({"weights": True}, TypeError, r"weights .*path.*bool"),
    "weights for dis": ({"weights": "a.safetensors", "engine": "dis"}, ValueError, r'weights .*engine="flow"'),
    "weights for no engine": ({"weights": "a.safetensors"}, ValueError, r'weights .*engine="flow"'),
    "weights for the CPU": ({"weights": "a.safetensors", "device": "cpu"}, ValueError, r'weights .*engine="flow"'),
    "device unknown": ({"device": "gpu"}, ValueError, r"device .*cpu.*cuda.*gpu"),
    "device upper case": ({"device": "CPU"}, ValueError, r"device .*cpu"),
    "device a number": ({"device": 0}, TypeError, r"device .*int"),
    "device True": ({"device": True}, TypeError, r"device .*bool True"),
    "backend unknown": ({"backend": "opencl"}, ValueError, r"backend .*cpu"),
    "backend a number": ({"backend": 1}, TypeError, r"backend .*int"),
    "backend True": ({"backend": True}, TypeError, r"backend .*bool"),
}


one_line = partial(helpers.one_line, "vs_align.spatial")


@pytest.mark.parametrize("case", BAD)
def test_a_bad_call_gives_one_line_that_says_what_is_wrong(case):
    arguments, kind, says = BAD[case]
    given = {"clip": blank, "ref": blank} | arguments
    made = {name: value() if callable(value) else value for name, value in given.items()}
    with pytest.raises(kind) as error:
        vs_align.spatial(**made)
    assert type(error.value) in (TypeError, ValueError)
    one_line(error, says)


def test_the_conversion_that_the_message_names_works():
    for clip, extra in ((yuv(), {"matrix_in_s": "709"}), (blank(vs.GRAY8), {})):
        converted = vs.core.resize.Bicubic(clip, format=vs.RGB24, **extra)
        vs_align.spatial(converted, converted).get_frame(0).close()


def test_contradicting_names_of_the_device(monkeypatch):
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 2)
    with pytest.raises(ValueError, match="contradict") as error:
        vs_align.spatial(blank(), blank(), device="cpu", backend="cuda")
    one_line(error, "device='cpu'.*backend='cuda'")


@pytest.mark.parametrize("asked", ["cuda", "cuda:0", "cuda:3", vs_align.Backend.CUDA])
@pytest.mark.parametrize("name", ["device", "backend"])
def test_cuda_where_there_is_none(monkeypatch, name, asked):
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 0)
    for engine in (None, "dis", "flow"):
        with pytest.raises(RuntimeError) as error:
            vs_align.spatial(blank(), blank(), engine=engine, **{name: asked})
        one_line(error, rf"{name}='cuda.*NVIDIA GPU")


def test_dis_where_there_is_a_gpu_runs_and_says_where(monkeypatch, caplog, capsys):
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 1)
    with caplog.at_level(logging.INFO, "vs_align"):
        aligned = vs_align.spatial(blank(), blank(), device="cuda", engine="dis")
        for n in range(4):
            aligned.get_frame(n).close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "'dis' runs on the CPU" in caplog.text
    caplog.clear()
    for options in ({}, {"device": "cpu"}, {"backend": vs_align.Backend.CPU}):
        vs_align.spatial(blank(), blank(), **options)
    assert not caplog.records
    assert capsys.readouterr().out == ""


FLOW, DIS = vs_align.FlowEngine.FLOW, vs_align.FlowEngine.DIS

# engine and device as given, whether PyTorch finds a GPU, the engine taken and the device that it is told.
CHOICES = [
    (None, None, False, DIS, None),
    (None, None, True, DIS, None),
    (None, "cpu", True, DIS, "cpu"),
    (None, "cuda", True, FLOW, "cuda"),
    (None, "cuda:1", True, FLOW, "cuda:1"),
    (None, vs_align.Backend.CUDA, True, FLOW, "cuda"),
    (None, vs_align.Backend.CPU, True, DIS, "cpu"),
    ("dis", None, True, DIS, None),
    ("dis", "cuda", True, DIS, "cuda"),
    ("flow", None, False, FLOW, None),
    ("flow", None, True, FLOW, None),
    ("flow", "cpu", True, FLOW, "cpu"),
    ("flow", "cuda:1", True, FLOW, "cuda:1"),
    (FLOW, None, True, FLOW, None),
    (DIS, None, True, DIS, None),
]


@pytest.mark.parametrize("given", CHOICES)
def test_which_engine_is_taken(monkeypatch, given):
    engine, device, gpu, taken, told = given
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 2 if gpu else 0)
    assert check_engine(checks.Checks("vs_align.spatial"), engine, device, None, None) == (taken, told)
    assert check_engine(checks.Checks("vs_align.spatial"), engine, None, device, None) == (taken, told)


def test_without_pytorch_the_network_names_what_to_install(monkeypatch):
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 1)
    for lacks in ("torch", "safetensors"):
        there = {"torch": "torch", "safetensors": "safetensors"} | {lacks: None}
        monkeypatch.setattr(checks.importlib.util, "find_spec", there.get)
        for options in ({"engine": "flow"}, {"device": "cuda"}):
            with pytest.raises(RuntimeError) as error:
                vs_align.spatial(blank(), blank(), **options)
            one_line(error, rf'engine="flow".* needs {lacks}; install with: pip install "vs_align\[torch\]"\.$')


def test_nothing_is_decoded_to_find_a_mistake():
    asked = []

    def note(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        asked.append(n)
        return f

    clip = blank().std.ModifyFrame(blank(), note)
    for arguments in ({"precision": 9}, {"iterations": 0}, {"engine": "x" * 10_000}):
        with pytest.raises(ValueError, match=r"vs_align\.spatial: ") as error:
            vs_align.spatial(clip, clip, clip, **arguments)
        one_line(error, "must be")
    assert not asked


# ---------------------------------------------------------------- older scripts


@pytest.fixture
def options(monkeypatch):
    """The options that the flow was estimated with, call by call; there is nothing to move."""
    seen = []

    def record(clip, ref, mask, options):
        seen.append(options)
        return Alignment(None, 0.5)

    monkeypatch.setattr("vs_align.filters.warping.align", record)
    return seen


def asked_for(options: list, *arguments, **keywords) -> tuple:
    options.clear()
    pictures = (drawn(moving(32, 24, seed=seed), 2, vs.RGB24) for seed in (1, 2))
    frame = vs_align.spatial(*pictures, *arguments, **keywords).get_frame(0)
    (used,) = options
    return used.precision, used.iterations, used.wide_search, used.lq_input, "_Alpha" in frame.props


def test_scripts_for_3_3_1_by_position(options):
    # clip, ref, mask, precision, wide_search, lq_input, alpha, backend
    assert asked_for(options, None, 2, True) == (2, 1, True, False, False)
    assert asked_for(options, None, 2, False, True) == (2, 1, False, True, False)
    assert asked_for(options, blank(), 4, False, False, True, "cpu") == (4, 1, False, False, True)
    assert asked_for(options, None, 1, True, True, False, vs_align.Backend.CPU) == (1, 1, True, True, False)
    enumerated = vs_align.SpatialPrecision.PERCENT_200
    assert asked_for(options, None, enumerated, True, backend="cpu") == (3, 1, True, False, False)
    named = {"mask": None, "precision": 3, "wide_search": True, "lq_input": True, "alpha": True, "backend": "cpu"}
    assert asked_for(options, **named) == (3, 1, True, True, True)


def test_scripts_for_the_version_before_by_position(options):
    # clip, ref, mask, precision, iterations, lq_input, device
    assert asked_for(options) == (3, 1, False, False, False)
    assert asked_for(options, None, 2, 3) == (2, 3, False, False, False)
    assert asked_for(options, blank(), 4, 2, True, "cpu") == (4, 2, False, True, False)
    assert asked_for(options, None, 1, 1, False, None) == (1, 1, False, False, False)


@pytest.mark.parametrize("precision", [*range(1, 5), np.int64(2), *vs_align.SpatialPrecision])
def test_every_way_to_say_the_precision(options, precision):
    number = precision.value if isinstance(precision, vs_align.SpatialPrecision) else int(precision)
    assert asked_for(options, precision=precision)[0] == number


# ---------------------------------------------------------------- not errors

SIZES = [(1, 1), (2, 2), (1, 9), (9, 1), (3, 5), (33, 17)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("other", SIZES)
@pytest.mark.parametrize("format", [vs.RGB24, vs.RGBS])
def test_sizes_however_odd_or_small(size, other, format):
    clip = drawn(moving(*size, seed=1), 3, format)
    ref = drawn(moving(*other, seed=2), 3, vs.RGB24)
    for options in ({}, {"alpha": True, "stabilize": 1, "mask": clip}, {"wide_search": True, "precision": 1}):
        aligned = vs_align.spatial(clip, ref, **options)
        for part in planes(aligned, 1):
            assert part.shape == other[::-1]
            assert np.isfinite(part.astype(np.float64)).all()


FINE = {
    "9 bits": {"clip": lambda: blank(vs.core.query_video_format(vs.RGB, vs.INTEGER, 9).id)},
    "another depth": {"clip": lambda: blank(vs.RGB48), "ref": lambda: blank(vs.RGBH)},
    "half": {"clip": lambda: blank(vs.RGBH), "ref": lambda: blank(vs.RGBS)},
    "clip of one frame": {"clip": lambda: blank(length=1)},
    "ref of one frame": {"ref": lambda: blank(length=1)},
    "frames that say nothing": {"clip": silent},
    "fields": {"clip": lambda: blank(height=25).std.SetFrameProps(_FieldBased=2)},
    "stabilize beyond the clip": {"stabilize": 10**12},
    "iterations of numpy": {"iterations": np.int32(2)},
}


@pytest.mark.parametrize("case", FINE)
def test_an_odd_but_sound_call_runs(case):
    made = {"clip": blank, "ref": lambda: drawn(moving(32, 24), 4, vs.RGB24)} | FINE[case]
    made = {name: value() if callable(value) else value for name, value in made.items()}
    aligned = vs_align.spatial(**made)
    assert aligned.format.id == made["clip"].format.id
    assert (aligned.num_frames, aligned.fps) == (made["ref"].num_frames, made["ref"].fps)
    for n in range(aligned.num_frames):
        aligned.get_frame(n).close()
