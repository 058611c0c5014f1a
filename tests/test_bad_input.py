"""Bad calls give one clear line that names the function; odd but sound ones run."""

from decimal import Decimal
from fractions import Fraction
from functools import partial

import helpers
import numpy as np
import pytest
import vapoursynth as vs
from helpers import drawn, held, moving, values

import vs_align
from vs_align import checks


def blank(format: int = vs.GRAY8, width: int = 32, height: int = 24, length: int = 10) -> vs.VideoNode:
    return vs.core.std.BlankClip(None, width, height, format, length, keep=True)


def changing_format() -> vs.VideoNode:
    return vs.core.std.Splice([blank(), blank(vs.GRAY16)], mismatch=True)


def silent() -> vs.VideoNode:
    return blank().std.RemoveFrameProps()


def changing_size() -> vs.VideoNode:
    return vs.core.std.Splice([blank(), blank(width=64)], mismatch=True)


def sound() -> vs.AudioNode:
    return vs.core.std.BlankAudio(length=1000)


RATES = {"clip_num": 24, "clip_den": 1, "ref_num": 30, "ref_den": 1}

# What is wrong: arguments other than (blank(), blank()), the exception, what its message says.
BAD = {
    # clips of the wrong type
    "clip missing": ({"clip": None}, TypeError, r"clip .*None"),
    "clip a string": ({"clip": "a.mkv"}, TypeError, r"clip .*str"),
    "clip a number": ({"clip": 3}, TypeError, r"clip .*int"),
    "clip a list": ({"clip": [1, 2]}, TypeError, r"clip .*list"),
    "clip audio": ({"clip": sound}, TypeError, r"clip .*AudioNode"),
    "ref missing": ({"ref": None}, TypeError, r"ref .*None"),
    "ref an array": ({"ref": lambda: np.zeros((4, 4))}, TypeError, r"ref .*ndarray"),
    "ref a frame": ({"ref": lambda: blank().get_frame(0)}, TypeError, r"ref .*VideoFrame"),
    "out a string": ({"out": "out.mkv"}, TypeError, r"out .*str"),
    "out False": ({"out": False}, TypeError, r"out .*bool"),
    "out audio": ({"out": sound}, TypeError, r"out .*AudioNode"),
    "fallback a number": ({"fallback": 0}, TypeError, r"fallback .*int"),
    "fallback a class": ({"fallback": vs.VideoNode}, TypeError, r"fallback"),
    # variable format or size
    "clip changes format": ({"clip": changing_format}, ValueError, r"clip .*constant format"),
    "clip changes size": ({"clip": changing_size}, ValueError, r"clip .*constant size"),
    "ref changes format": ({"ref": changing_format}, ValueError, r"ref .*constant format"),
    "ref changes size": ({"ref": changing_size}, ValueError, r"ref .*constant size"),
    "out changes format": ({"out": changing_format}, ValueError, r"out .*constant format"),
    "out changes size": ({"out": changing_size}, ValueError, r"out .*constant size"),
    "fallback changes format": ({"fallback": changing_format}, ValueError, r"fallback .*constant format"),
    "fallback changes size": ({"fallback": changing_size}, ValueError, r"fallback .*constant size"),
    # clip and ref do not fit each other
    "other depth": ({"ref": lambda: blank(vs.GRAY10)}, ValueError, r"clip and ref .*same format.*Gray8 and Gray10"),
    "other family": ({"ref": lambda: blank(vs.RGB24)}, ValueError, r"clip and ref .*same format"),
    "other subsampling": (
        {"clip": lambda: blank(vs.YUV420P8), "ref": lambda: blank(vs.YUV444P8)},
        ValueError,
        r"clip and ref .*same format",
    ),
    "half and 16 bit": (
        {"clip": lambda: blank(vs.GRAYH), "ref": lambda: blank(vs.GRAY16)},
        ValueError,
        r"clip and ref .*same format",
    ),
    "other width": ({"ref": lambda: blank(width=34)}, ValueError, r"clip and ref .*same size.*32x24 and 34x24"),
    "other height": ({"clip": lambda: blank(height=1)}, ValueError, r"clip and ref .*same size.*32x1 and 32x24"),
    # out and fallback do not fit
    "out shorter": ({"out": lambda: blank(length=9)}, ValueError, r"out .*length.*10.*9"),
    "out longer": ({"out": lambda: blank(length=11)}, ValueError, r"out .*length.*10.*11"),
    "fallback shorter": ({"fallback": lambda: blank(length=9)}, ValueError, r"fallback .*ref.*10.*9"),
    "fallback of another size": ({"fallback": lambda: blank(width=34)}, ValueError, r"fallback .*size"),
    "fallback of another format": ({"fallback": lambda: blank(vs.GRAY16)}, ValueError, r"fallback .*format"),
    "fallback like clip, not like out": (
        {"out": lambda: blank(vs.RGB24), "fallback": blank},
        ValueError,
        r"out and fallback .*format",
    ),
    "fallback of another size than out": (
        {"out": lambda: blank(width=64), "fallback": blank},
        ValueError,
        r"out and fallback .*size",
    ),
    # rates
    **{
        f"{name} alone": ({name: 24}, ValueError, r"clip_num, .* and ref_den go together; not given: .*, .*, ")
        for name in RATES
    },
    **{
        f"{name} missing": (
            {other: value for other, value in RATES.items() if other != name},
            ValueError,
            rf"go together; not given: {name}\.",
        )
        for name in RATES
    },
    **{f"{name} zero": (RATES | {name: 0}, ValueError, rf"{name} .*at least 1.*0") for name in RATES},
    **{f"{name} negative": (RATES | {name: -24}, ValueError, rf"{name} .*at least 1.*-24") for name in RATES},
    **{f"{name} fraction": (RATES | {name: 23.976}, TypeError, rf"{name} .*integer.*23\.976") for name in RATES},
    "rate a whole float": (RATES | {"clip_num": 24.0}, TypeError, r"clip_num .*integer"),
    "rate a string": (RATES | {"clip_num": "24"}, TypeError, r"clip_num .*integer"),
    "rate True": (RATES | {"clip_den": True}, TypeError, r"clip_den .*integer"),
    "rate a Fraction": (RATES | {"clip_num": Fraction(24)}, TypeError, r"clip_num .*integer"),
    "rate NaN": (RATES | {"ref_den": float("nan")}, TypeError, r"ref_den .*integer"),
    # tr
    "tr negative": ({"tr": -1}, ValueError, r"tr .*at least 0.*-1"),
    "tr a float": ({"tr": 20.0}, TypeError, r"tr .*integer.*20\.0"),
    "tr a string": ({"tr": "20"}, TypeError, r"tr .*integer"),
    "tr None": ({"tr": None}, TypeError, r"tr=None is for the modes dtw, offset, linear; in mode .match. give a whole"),
    "tr True": ({"tr": True}, TypeError, r"tr .*integer"),
    "tr infinite": ({"tr": float("inf")}, TypeError, r"tr .*integer"),
    "tr an array": ({"tr": lambda: np.array([1, 2])}, TypeError, r"tr .*integer"),
    "tr a numpy float": ({"tr": np.float32(3)}, TypeError, r"tr .*integer"),
    "tr a numpy negative": ({"tr": np.int64(-3)}, ValueError, r"tr .*at least 0"),
    # unknown choices
    "precision 0": ({"precision": 0}, ValueError, r"precision .*1, 2 or 3.*0"),
    "precision 4": ({"precision": 4}, ValueError, r"precision .*1, 2 or 3.*4"),
    "precision -1": ({"precision": -1}, ValueError, r"precision .*1, 2 or 3"),
    "precision a float": ({"precision": 1.0}, TypeError, r"precision .*1, 2 or 3"),
    "precision a string": ({"precision": "planestats"}, TypeError, r"precision .*1, 2 or 3"),
    "precision None": ({"precision": None}, TypeError, r"precision .*1, 2 or 3"),
    "precision True": ({"precision": True}, TypeError, r"precision .*1, 2 or 3"),
    "precision and tr exchanged": ({"tr": 1, "precision": 20}, ValueError, r"precision .*order.*tr, precision"),
    "similarity unknown": ({"similarity": "ssim"}, ValueError, r"similarity .*planestats.*structure.*ssim"),
    "similarity empty": ({"similarity": ""}, ValueError, r"similarity .*planestats"),
    "similarity a number": ({"similarity": 1}, (TypeError, ValueError), r"similarity .*planestats"),
    "similarity a clip": ({"similarity": blank}, TypeError, r"similarity .*VideoNode"),
    "mode unknown": ({"mode": "warp"}, ValueError, r"mode .*match.*warp"),
    "mode None": ({"mode": None}, TypeError, r"mode .*match"),
    "device unknown": ({"device": "gpu"}, ValueError, r"device .*cpu.*cuda.*gpu"),
    "device upper case": ({"device": "CPU"}, ValueError, r"device .*cpu"),
    "device malformed": ({"device": "cuda:"}, ValueError, r"device .*cuda"),
    "device negative": ({"device": "cuda:-1"}, ValueError, r"device .*cuda"),
    "device a number": ({"device": 0}, TypeError, r"device .*int"),
    "device with a line break": ({"device": "cpu\n"}, ValueError, r"device .*cpu"),
    "backend unknown": ({"backend": "opencl"}, ValueError, r"backend .*cpu"),
    "backend a number": ({"backend": 1}, TypeError, r"backend .*int"),
    "device another enumeration": (
        {"device": vs_align.TemporalPrecision.PLANESTATS},
        (TypeError, ValueError),
        r"device ",
    ),
    # thresh
    "thresh NaN": ({"thresh": float("nan")}, ValueError, r"thresh .*NaN"),
    "thresh numpy NaN": ({"thresh": np.float32("nan")}, ValueError, r"thresh .*NaN"),
    "thresh a string": ({"thresh": "0.5"}, TypeError, r"thresh .*number"),
    "thresh None": ({"thresh": None}, TypeError, r"thresh .*number"),
    "thresh True": ({"thresh": True}, TypeError, r"thresh .*number"),
    "thresh complex": ({"thresh": 1j}, TypeError, r"thresh .*number"),
    "thresh a list": ({"thresh": [1]}, TypeError, r"thresh .*number"),
    "thresh an array": ({"thresh": lambda: np.array([1.0, 2.0])}, (TypeError, ValueError), r"thresh .*number"),
    "thresh too large for a float": ({"thresh": 10**400}, (TypeError, ValueError), r"thresh "),
    # batch_size, shortlist, debug
    "batch_size 0": ({"batch_size": 0}, ValueError, r"batch_size .*at least 1"),
    "batch_size a float": ({"batch_size": 2.5}, TypeError, r"batch_size .*integer"),
    "shortlist negative": ({"shortlist": -1}, ValueError, r"shortlist "),
    "shortlist a string": ({"shortlist": "9"}, (TypeError, ValueError), r"shortlist "),
    "debug a number": ({"debug": 1}, TypeError, r"debug .*True or False"),
    "debug a string": ({"debug": "yes"}, TypeError, r"debug .*True or False"),
    # formats
    "32 bit integer": (
        {"clip": lambda: blank(vs.GRAY32), "ref": lambda: blank(vs.GRAY32)},
        ValueError,
        r"clip .*Gray32.*16 bits",
    ),
    "24 bit integer": (
        {name: lambda: blank(vs.core.query_video_format(vs.YUV, vs.INTEGER, 24, 1, 1).id) for name in ("clip", "ref")},
        ValueError,
        r"clip .*16 bits",
    ),
}


one_line = partial(helpers.one_line, "vs_align.temporal")


@pytest.mark.parametrize("case", BAD)
def test_a_bad_call_gives_one_line_that_says_what_is_wrong(case):
    arguments, kind, says = BAD[case]
    given = {"clip": blank, "ref": blank} | arguments
    made = {
        name: value() if callable(value) and not isinstance(value, type) else value for name, value in given.items()
    }
    with pytest.raises(kind) as error:
        vs_align.temporal(**made)
    assert type(error.value) in (TypeError, ValueError)
    one_line(error, says)


def test_contradicting_names_of_the_device(monkeypatch):
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 2)
    with pytest.raises(ValueError, match="contradict") as error:
        vs_align.temporal(blank(), blank(), device="cpu", backend="cuda")
    one_line(error, "device='cpu'.*backend='cuda'")


@pytest.mark.parametrize("asked", ["cuda", "cuda:0", "cuda:3", vs_align.Backend.CUDA])
@pytest.mark.parametrize("name", ["device", "backend"])
def test_cuda_where_there_is_none(monkeypatch, name, asked):
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 0)
    for measure in ({"precision": 1}, {"similarity": "structure"}, {"precision": 2}, {"precision": 3}):
        with pytest.raises(RuntimeError) as error:
            vs_align.temporal(blank(), blank(), **{name: asked}, **measure)
        one_line(error, rf"{name}='cuda.*NVIDIA GPU")


def test_a_cuda_device_beyond_those_there_are(monkeypatch):
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 2)
    with pytest.raises(ValueError, match="cuda:2") as error:
        vs_align.temporal(blank(), blank(), device="cuda:2")
    one_line(error, "2 CUDA device")


def test_a_huge_value_does_not_fill_the_screen():
    for arguments in ({"similarity": "x" * 10_000}, {"device": "y" * 10_000}, {"mode": "a\nb"}, {"clip": "z" * 10_000}):
        with pytest.raises((TypeError, ValueError)) as error:
            vs_align.temporal(**({"clip": blank(), "ref": blank()} | arguments))
        one_line(error, "must be")


def test_nothing_is_decoded_to_find_a_mistake():
    asked = []

    def note(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        asked.append(n)
        return f

    clip = blank().std.ModifyFrame(blank(), note)
    for arguments in ({"tr": -1}, {"out": blank(length=3)}, {"precision": 9}):
        with pytest.raises(ValueError, match=r"vs_align\.temporal: "):
            vs_align.temporal(clip, clip, **arguments)
    assert not asked


# ---------------------------------------------------------------- not errors

FINE = {
    "tr larger than the clip": {"tr": 10_000},
    "tr as large as can be": {"tr": 2**63},
    "tr 0": {"tr": 0},
    "tr of numpy": {"tr": np.int16(4)},
    "thresh infinite": {"thresh": float("inf")},
    "thresh minus infinite": {"thresh": float("-inf")},
    "thresh negative": {"thresh": -1},
    "thresh an int": {"thresh": 0},
    "thresh a Fraction": {"thresh": Fraction(1, 3)},
    "thresh a Decimal": {"thresh": Decimal("0.5")},
    "fallback longer than ref": {"fallback": lambda: blank(length=30)},
    "fallback like out": {"out": lambda: blank(vs.RGB24), "fallback": lambda: blank(vs.RGB24)},
    "out of any format and size": {"out": lambda: blank(vs.YUV420P10, 640, 360)},
    "out of 32 bit integers": {"out": lambda: blank(vs.GRAY32)},
    "device of another case of None": {"device": None, "backend": None},
    "rates equal": {"clip_num": 24, "clip_den": 1, "ref_num": 48, "ref_den": 2},
    "rates far apart": {"clip_num": 1000, "clip_den": 1, "ref_num": 1, "ref_den": 1},
    "rates far apart the other way": {"clip_num": 1, "clip_den": 1, "ref_num": 1000, "ref_den": 1},
    "rates of numpy": {"clip_num": np.int64(24), "clip_den": np.uint8(1), "ref_num": 30, "ref_den": 1},
    "a clip of one frame": {"clip": lambda: blank(length=1)},
    "a ref of one frame": {"ref": lambda: blank(length=1)},
    "clip shorter": {"clip": lambda: blank(length=3)},
    "clip longer": {"clip": lambda: blank(length=300)},
    "one pixel": {"clip": lambda: blank(width=1, height=1), "ref": lambda: blank(width=1, height=1)},
    "9 bits": {
        name: lambda: blank(vs.core.query_video_format(vs.YUV, vs.INTEGER, 9, 1, 1).id) for name in ("clip", "ref")
    },
    "4:1:1": {name: lambda: blank(vs.YUV411P8) for name in ("clip", "ref")},
    "frames that say nothing": dict.fromkeys(("clip", "ref"), silent),
    "fields": {name: lambda: blank(height=25).std.SetFrameProps(_FieldBased=1) for name in ("clip", "ref")},
}  # fmt: skip


@pytest.mark.parametrize("similarity", ["planestats", "structure"])
@pytest.mark.parametrize("case", FINE)
def test_an_odd_but_sound_call_runs(case, similarity):
    given = {"clip": blank, "ref": blank} | FINE[case]
    made = {name: value() if callable(value) else value for name, value in given.items()}
    synced = vs_align.temporal(**made, similarity=similarity)
    assert synced.num_frames == made["ref"].num_frames
    assert all(0 <= m < made["clip"].num_frames for m in values(synced))


@pytest.mark.parametrize("similarity", ["planestats", "structure"])
def test_a_wrong_precision_does_not_matter_where_the_measure_is_named(similarity):
    clip = held(drawn(moving(32, 24), 8))
    assert values(vs_align.temporal(clip, clip, precision=3, similarity=similarity)) == list(range(8))
