"""`vs_align.offset` on clips whose offset is known."""

import json
from fractions import Fraction

import numpy as np
import pytest
import vapoursynth as vs
from helpers import FOOTAGE, drawn, held, moving, needs_footage, one_line

import vs_align

NAMES = ("blend", "diagonals", "dtw", "median")


def roll(length: int, late: int = 0, *, grain: float = 0.0, format: int = vs.GRAY8) -> vs.VideoNode:
    """A scene that begins 300 frames in; so many frames late."""
    paint = moving(64, 48)
    noise = grain * np.random.default_rng(0).standard_normal((length, 3, 48, 64)) if grain else np.zeros(length)
    return held(drawn(lambda n: np.clip(paint(300 + n - late) + noise[n], 0, 1), length, format))


@pytest.fixture(scope="module")
def ref() -> vs.VideoNode:
    return roll(100)


@pytest.mark.parametrize("late", [-23, -1, 0, 9, 30])
def test_the_offset_of_a_roll_is_found(ref, late):
    found = vs_align.offset(roll(100, late), ref)
    assert found.offset_frames == late
    assert found.probability > 0.8
    assert found.seconds == pytest.approx(late / 24)
    assert [passage.offset_frames for passage in found.passages] == [late]


@pytest.mark.parametrize("predictor", NAMES)
@pytest.mark.parametrize("late", [-8, 12])
def test_each_predictor_finds_it_under_grain(ref, predictor, late):
    found = vs_align.offset(roll(100, late, grain=0.04), ref, predictor=predictor)
    assert abs(found.offset_frames - late) <= 1
    assert found.predictor == predictor and found.similarity == "structure"


@pytest.mark.parametrize("similarity", ["structure", "planestats", "embedding"])
def test_measures_come_by_name(ref, similarity):
    found = vs_align.offset(roll(100, 5), ref, similarity=similarity)
    assert (found.offset_frames, found.similarity) == (5, similarity)


@pytest.mark.parametrize(("clip_length", "ref_length"), [(70, 100), (100, 61), (40, 300)])
def test_clips_of_unequal_length_are_compared_over_what_both_have(clip_length, ref_length):
    found = vs_align.offset(roll(clip_length, 4), roll(ref_length))
    assert found.offset_frames == 4
    assert all(passage.length == min(clip_length, ref_length, 120) for passage in found.passages)


@pytest.mark.parametrize("late", [-260, 250])
def test_a_rough_offset_is_refined(late):
    clip, ref = roll(400, late), roll(400)
    found = vs_align.offset(clip, ref, around=late + 13, length=60)
    assert found.offset_frames == late and found.around == late + 13
    assert found.probability > 0.8
    assert all(p.clip_frame - p.ref_frame == late + 13 and p.offset_frames == late for p in found.passages)


def test_several_passages_vote(ref):
    clip, long = roll(400, 7), roll(400)
    found = vs_align.offset(clip, long, passages=3, length=60)
    assert len(found.passages) == 3 and found.agreement == 1
    starts = [passage.ref_frame for passage in found.passages]
    assert starts == [0, 170, 340]
    assert found.probability >= max(passage.probability for passage in found.passages)
    # Passages do not overlap: fewer are looked at.
    assert len(vs_align.offset(clip, long, length=256).passages) == 1


def test_only_the_passages_are_read():
    counted = set()

    def note(n, f):
        counted.add(n)
        return f

    clip = roll(1000, 3)
    clip = clip.std.ModifyFrame(clip, note)
    vs_align.offset(clip, roll(1000), passages=2, length=50)
    # Besides, 24 frames in which borders are looked for.
    assert set(range(50)) | set(range(950, 1000)) <= counted
    assert len(counted) <= 100 + 24


def wander(length: int, late: int = 0) -> vs.VideoNode:
    """A view that wanders at random, under a light that does: nothing comes back, unlike in `roll`, whose ball does."""
    rng = np.random.default_rng(12)
    across, light = rng.standard_normal((2, 400)).cumsum(1)
    land = moving(256, 48)(0)

    def paint(n: int) -> np.ndarray:
        n += 150 - late
        left = 96 + round(2.5 * across[n]) % 96
        return np.clip(land[:, :, left : left + 64] + 0.02 * light[n], 0, 1)

    return held(drawn(paint, length))


def test_clips_played_backwards_have_no_offset():
    assert vs_align.offset(wander(100, 9), wander(100)).offset_frames == 9
    assert vs_align.offset(wander(100).std.Reverse(), wander(100)).probability < 0.5


def test_a_still_clip_is_not_sure():
    still = vs.core.std.BlankClip(width=64, height=48, format=vs.GRAY8, length=100, color=90)
    found = vs_align.offset(still, still)
    assert found.offset_frames == 0 and found.probability < 0.3
    grain = drawn(lambda n: 0.5 + 0.05 * np.random.default_rng(n).standard_normal((3, 48, 64)), 100)
    other = drawn(lambda n: 0.5 + 0.05 * np.random.default_rng(500 + n).standard_normal((3, 48, 64)), 100)
    assert vs_align.offset(held(grain), held(other)).probability < 0.5


@pytest.mark.parametrize("late", [-11, 14])
def test_when_something_moves_is_seen_from_the_other_side(late):
    """The second camera sees another picture altogether; only that both see the ball stop and go is common."""
    rng = np.random.default_rng(4)
    place = (rng.random(200) < 0.4).cumsum() * 3
    rows, columns = np.mgrid[:48, :64]

    def camera(n: int, mirrored: bool) -> np.ndarray:
        across = place[n] % 90 - 10
        ball = (rows - (16 if mirrored else 30)) ** 2 + (columns - (60 - across if mirrored else across)) ** 2 < 90
        return np.repeat(np.where(ball, 0.9, 0.3 + 0.1 * mirrored)[None], 3, 0)

    ref = held(drawn(lambda n: camera(40 + n, False), 120))
    clip = held(drawn(lambda n: camera(40 + n - late, True), 120))
    assert abs(vs_align.offset(clip, ref, predictor="motion").offset_frames - late) <= 1
    assert abs(vs_align.offset(clip, ref).offset_frames - late) <= 1


def test_out_of_reach_is_not_sure():
    assert vs_align.offset(wander(150, 75), wander(150), length=60).probability < 0.5


@pytest.mark.parametrize("format", [vs.YUV420P8, vs.YUV444P16, vs.RGB24, vs.GRAYS])
def test_formats_and_sizes_may_differ(ref, format):
    clip = roll(100, -6, format=format).resize.Bicubic(96, 80).std.AddBorders(0, 0, 0, 12)
    found = vs_align.offset(clip, ref)
    assert found.offset_frames == -6 and found.probability > 0.7


def test_black_borders_are_left_out(ref):
    clip = roll(100, 10).std.AddBorders(0, 0, 20, 20)
    assert vs_align.offset(clip, ref).offset_frames == 10


def test_clips_without_a_rate_have_no_seconds(ref):
    clip = drawn(moving(64, 48), 100, fps=(0, 1))
    found = vs_align.offset(clip, clip)
    assert found.rate is None and found.seconds is None


def test_the_result_is_saved_as_json(ref, tmp_path):
    found = vs_align.offset(roll(100, 5), ref)
    found.save(tmp_path / "offset.json")
    read = json.loads((tmp_path / "offset.json").read_text(encoding="utf-8"))
    assert read["offset_frames"] == 5 and read["rate"] == "24"
    assert read["probability"] == found.probability
    assert read["passages"][0]["length"] == 100
    with pytest.raises(AttributeError):
        found.offset_frames = 3


def test_progress_is_told(ref):
    told = []
    vs_align.offset(ref, ref, length=40, passages=2, progress=lambda what, done, total: told.append((done, total)))
    assert told == [(k, 80) for k in range(1, 81)]


@pytest.mark.parametrize(
    ("changes", "fault", "says"),
    [
        ({"clip": 3}, TypeError, "clip must be a VapourSynth video clip"),
        ({"ref": None}, TypeError, "ref must be a VapourSynth video clip"),
        ({"predictor": "best"}, ValueError, "predictor must be one of 'blend'.*or the path of a file"),
        ({"predictor": 3}, TypeError, "predictor must be a name or a path"),
        ({"predictor": "none.safetensors"}, ValueError, "no predictor's file"),
        ({"similarity": "beauty"}, ValueError, "similarity must be one of"),
        ({"similarity": "pose"}, ValueError, "use vs_align.analyse"),
        ({"similarity": 3.5}, TypeError, "similarity must be one of"),
        ({"around": 0.5}, TypeError, "around must be an integer"),
        ({"around": 5000}, ValueError, "around=5000 leaves 0 frames"),
        ({"around": -95}, ValueError, "around=-95 leaves 5 frames"),
        ({"passages": 0}, ValueError, "passages must be at least 1"),
        ({"passages": 1000}, ValueError, "passages must be at most 64"),
        ({"length": 3}, ValueError, "length must be at least 8"),
        ({"length": 257}, ValueError, "length must be at most 256"),
        ({"length": True}, TypeError, "length must be an integer"),
        ({"engine": "julek"}, ValueError, "engine is for butteraugli"),
        ({"weights": "x"}, ValueError, "weights is for"),
        ({"device": "tpu"}, ValueError, "device must be"),
        ({"progress": 3}, TypeError, "progress must be a function"),
    ],
)
def test_bad_input_is_refused_in_one_line(ref, changes, fault, says):
    arguments = {"clip": ref, "ref": ref} | changes
    with pytest.raises(fault) as error:
        vs_align.offset(arguments.pop("clip"), arguments.pop("ref"), **arguments)
    one_line("vs_align.offset", error, says)


def test_clips_that_are_too_short_or_of_other_rates_are_refused(ref):
    with pytest.raises(ValueError) as error:
        vs_align.offset(ref[:7], ref)
    one_line("vs_align.offset", error, "clip has 7 frames and ref .*; at least 8 are needed in both")
    with pytest.raises(ValueError) as error:
        vs_align.offset(ref.std.AssumeFPS(fpsnum=30), ref)
    one_line("vs_align.offset", error, "30 frames per second and ref 24.*analyse")
    # The same frames at PAL speed are the same frames.
    assert vs_align.offset(ref.std.AssumeFPS(fpsnum=25), ref).rate == Fraction(25)


@needs_footage
@pytest.mark.slow
@pytest.mark.parametrize("late", [-14, 22])
def test_two_releases_of_a_film(late):
    if not hasattr(vs.core, "bs"):
        pytest.skip("needs BestSource")
    first, second = (
        vs.core.bs.VideoSource(str(FOOTAGE / "releases" / name), cachemode=0)
        for name in ("webrtc_chrome.mp4", "webrtc_chrome.webm")
    )
    start = 100
    found = vs_align.offset(second[start - late : 800 - late], first[start:800])
    assert abs(found.offset_frames - late) <= 1 and found.probability > 0.9
