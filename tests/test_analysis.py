"""`vs_align.analyse`: maps, offsets, cuts and geometry on made and real pairs whose truth is known."""

import logging
import threading
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np
import pytest
import vapoursynth as vs
from helpers import Requests, drawn, footage, held, moving, needs_footage, noise, one_line, props, retime, x264

import vs_align
from vs_align.analysis.geometry import Box, Geometry, find_box, luma
from vs_align.analysis.geometry_fit import fit_geometry
from vs_align.analysis.rough import rough_map
from vs_align.filters import analyse as module

FILM, PAL = Fraction(24000, 1001), Fraction(25)


def scene(length: int = 120, width: int = 160, height: int = 96, fps: Fraction = Fraction(24)) -> vs.VideoNode:
    clip = drawn(moving(width, height), length)
    return held(clip).std.AssumeFPS(fpsnum=fps.numerator, fpsden=fps.denominator)


def strangers(length: int, clip: vs.VideoNode) -> vs.VideoNode:
    other = held(drawn(noise(clip.width, clip.height, seed=9), length))
    return other.std.AssumeFPS(clip)


@pytest.fixture(scope="module")
def film() -> vs.VideoNode:
    return scene()


# ---------------------------------------------------------------- maps


@pytest.mark.parametrize("similarity", ["structure", "planestats"])
def test_a_clip_is_its_own_match(film, similarity):
    found = vs_align.analyse(film, film, similarity=similarity)
    np.testing.assert_array_equal(found.frame, np.arange(120))
    assert not found.score.any()
    assert (found.offset_frames, found.offset_ms, found.offset.share) == (0, 0.0, 1.0)
    assert found.drift.known.name == "same rate"
    assert found.similarity == similarity


@pytest.mark.parametrize("similarity", ["structure", "planestats"])
def test_dropped_and_repeated_frames_are_found(film, similarity):
    order = [*range(5, 30), *range(31, 60), 60, 60, *range(61, 120)]
    found = vs_align.analyse(retime(film, order), film, similarity=similarity, geometry=None)
    shown = np.array(order)[found.frame[5:]]
    there = np.isin(np.arange(5, 120), order)
    np.testing.assert_array_equal(shown[there], np.arange(5, 120)[there])


def test_the_offset_is_how_late_clip_is(film):
    late = strangers(12, film) + film
    found = vs_align.analyse(late, film)
    assert found.offset_frames == 12
    assert found.offset_ms == 500.0
    assert found.audio_delay_ms == -500.0
    early = vs_align.analyse(film, late)
    assert early.offset_frames == -12
    assert early.audio_delay_ms == 500.0
    assert (early.frame[:12] == -1).all()
    assert not early.confidence[:12].any()
    np.testing.assert_array_equal(early.frame[12:], np.arange(120))


def test_missing_and_inserted_passages_are_found_to_the_frame(film):
    long = film + scene(60, fps=Fraction(24)).std.FlipHorizontal() + film.std.FlipVertical()
    clip = long[:100] + long[130:200] + strangers(50, film) + long[200:]
    found = vs_align.analyse(clip, long)
    assert [(s.first, s.last, s.offset) for s in found.segments] == [(0, 99, 0), (130, 199, -30), (200, 299, 20)]
    assert [(b.ref_frame, b.clip_frame, b.missing, b.inserted) for b in found.breaks] == [
        (100, 100, 30, 0),
        (200, 170, 0, 50),
    ]
    assert (found.frame[100:130] == -1).all()


@pytest.mark.parametrize("tr", [1, 20])
def test_a_band_gives_what_all_pairs_give(film, tr):
    clip = film[:50] + film[53:]
    whole = vs_align.analyse(clip, film, geometry=None)
    band = vs_align.analyse(clip, film, geometry=None, tr=tr)
    there = np.r_[0:50, 53:120]
    np.testing.assert_array_equal(whole.frame[there], np.arange(117))
    np.testing.assert_array_equal(band.frame[there], np.arange(117))


def test_formats_sizes_and_lengths_may_differ(film):
    clip = film.resize.Bicubic(320, 240, format=vs.RGB24)[10:]
    ref = film.resize.Bicubic(format=vs.YUV420P16, matrix=1)
    found = vs_align.analyse(clip, ref, similarity="structure")
    np.testing.assert_array_equal(found.frame[10:], np.arange(110))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_clips(film, length):
    found = vs_align.analyse(film[:length], film[:length])
    np.testing.assert_array_equal(found.frame, np.arange(length))
    assert (found.drift is None) == (length == 1)


def test_flat_clips_have_no_confidence_and_no_fault():
    blank = vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, 20)
    found = vs_align.analyse(blank, blank)
    assert not found.confidence.any()
    assert found.offset_frames == 0


def test_frames_that_hold_nan_have_no_match(film):
    ref = film.resize.Point(format=vs.GRAYS)

    def spoil(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        spoilt = f.copy()
        if n == 7:
            np.asarray(spoilt[0])[:] = np.nan
        return spoilt

    found = vs_align.analyse(ref, ref.std.ModifyFrame(ref, spoil), similarity="planestats")
    np.testing.assert_array_equal(np.delete(found.frame, 7), np.delete(np.arange(120), 7))


def test_long_clips_are_matched_by_blocks_first(monkeypatch):
    """Features of unlike frames, with a passage missing and one inserted; all pairs of frames count as too many."""
    every = np.random.default_rng(3).integers(0, 256, (700, 48), np.uint8)
    every = np.array([cv2.blur(row[None].astype(np.float32), (5, 1))[0] for row in every]).astype(np.uint8)
    clip = np.concatenate([every[:200], every[260:400], every[:90][::-1], every[400:]])
    truth = np.r_[np.arange(200), np.full(60, -1), np.arange(200, 340), np.arange(430, 730)]
    monkeypatch.setattr("vs_align.analysis.rough._WHOLE", 20_000)
    found = rough_map(every, clip, (1, 1))
    there = truth >= 0
    assert (found[there] == truth[there]).mean() > 0.97
    assert (np.diff(found) >= 0).all()


# ---------------------------------------------------------------- rates


def test_pal_speed_up_is_named(film):
    fast, slow = (film.std.AssumeFPS(fpsnum=rate.numerator, fpsden=rate.denominator) for rate in (PAL, FILM))
    found = vs_align.analyse(fast, slow, geometry=None)
    assert found.drift.rate == 1.0
    assert found.drift.speed == pytest.approx(float(FILM / PAL), rel=1e-12)
    assert found.drift.speed_known.name == "25 / 23.976 (PAL speed-up)"


def test_another_frame_rate_at_the_same_speed(film):
    order = [n * 4 // 5 for n in range(150)]
    ntsc = retime(film, order).std.AssumeFPS(fpsnum=30000, fpsden=1001)
    found = vs_align.analyse(ntsc, film.std.AssumeFPS(fpsnum=24000, fpsden=1001), geometry=None)
    np.testing.assert_array_equal(np.array(order)[found.frame], np.arange(120))
    assert found.offset.rate == Fraction(5, 4)
    assert found.drift.rate == pytest.approx(1.25, abs=found.drift.fit.rate_error)
    assert found.drift.speed == pytest.approx(1.0, abs=found.drift.fit.rate_error)


def test_rates_may_be_given(film):
    found = vs_align.analyse(film, film, clip_rate=25, ref_rate="24000/1001", geometry=None)
    assert (found.clip.rate, found.ref.rate) == (PAL, FILM)


# ---------------------------------------------------------------- geometry


def bordered(clip: vs.VideoNode, left: int, right: int, top: int, bottom: int, black: int = 16) -> vs.VideoNode:
    return clip.std.AddBorders(left, right, top, bottom, color=[black])


@pytest.mark.parametrize("black", [0, 16])
def test_black_borders_are_found(film, black):
    bright = luma(film).std.Expr("x 0.7 * 60 +")
    assert find_box(bordered(bright, 6, 10, 20, 14, black)) == Box(6, 20, 166, 116)
    assert find_box(bright) == Box.whole(bright)


def test_a_subtitle_in_a_border_is_no_picture(film):
    bright = bordered(luma(film).std.Expr("x 0.7 * 60 +"), 0, 0, 24, 24)

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        written = f.copy()
        if n % 10 == 0:
            np.asarray(written[0])[128:136, 40:120] = 235
        return written

    assert find_box(bright.std.ModifyFrame(bright, write)) == Box(0, 24, 160, 120)


def test_dark_frames_say_nothing_of_borders(film):
    dark = bordered(luma(film).std.Expr("x 0.02 * 16 +"), 0, 0, 20, 20)
    assert find_box(dark) == Box.whole(dark)


def test_applied_brings_both_to_one_size():
    """A ramp, sampled where it is known: clip holds ref's picture twice as large, moved by 6 and 4 pixels."""

    def ramp(width: int, height: int, scale: float, left: float, top: float) -> vs.VideoNode:
        x, y = np.meshgrid((np.arange(width) + 0.5 - left) / scale, (np.arange(height) + 0.5 - top) / scale)
        return held(drawn(lambda n: np.stack([(x * 2 + y) / 400 + 0.2] * 3), 1, vs.GRAYS))

    ref, clip = ramp(64, 48, 1, 0, 0), ramp(128, 96, 2, 6, 4)
    geometry = Geometry(2.0, 2.0, 6.0, 4.0, Box(0, 0, 64, 48)).within(Box(0, 0, 64, 48), Box(0, 0, 128, 96))
    assert geometry.common == Box(0, 0, 61, 46)
    moved, still = geometry.applied(clip, ref)
    assert (moved.width, moved.height) == (still.width, still.height) == (61, 46)
    a, b = (np.asarray(node.get_frame(0)[0])[4:-4, 4:-4] for node in (moved, still))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_what_is_no_scale_and_shift_is_no_geometry():
    """A rotation, and matches of unlike frames."""
    ref = held(drawn(moving(320, 240), 30))

    def turned(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        matrix = cv2.getRotationMatrix2D((160, 120), 12, 1)
        np.copyto(np.asarray(out[0]), cv2.warpAffine(np.asarray(f[0]), matrix, (320, 240)))
        return out

    pairs = [(n, n) for n in range(30)]
    assert fit_geometry(ref.std.ModifyFrame(ref, turned), ref, pairs) is None
    assert fit_geometry(held(drawn(noise(320, 240), 30)), ref, pairs) is None
    assert fit_geometry(ref, ref, pairs) is None
    assert fit_geometry(ref, ref, []) is None


def test_applied_keeps_to_the_chroma_grid(film):
    yuv = film.resize.Bicubic(format=vs.YUV420P8, matrix=1)
    geometry = Geometry(1.0, 1.0, 0.0, 0.0, Box(3, 5, 151, 91))
    moved, still = geometry.applied(yuv, yuv)
    assert (still.width, still.height) == (moved.width, moved.height) == (146, 84)
    np.testing.assert_array_equal(np.asarray(still.get_frame(3)[0]), np.asarray(yuv.get_frame(3)[0])[6:90, 4:150])
    np.testing.assert_array_equal(np.asarray(moved.get_frame(3)[0]), np.asarray(still.get_frame(3)[0]))


# ---------------------------------------------------------------- real footage


def close(found: np.ndarray, truth: np.ndarray, source: vs.VideoNode) -> np.ndarray:
    """Which frames are right: the true one, or one that the clean source cannot tell from it."""
    pictures = [np.asarray(source.get_frame(n)[0]).astype(np.int16) for n in range(source.num_frames)]
    return np.array([
        a == b or (a >= 0 and b >= 0 and np.abs(pictures[a] - pictures[b]).mean() < 0.35)
        for a, b in zip(found, truth, strict=True)
    ])  # fmt: skip


@needs_footage
@pytest.mark.parametrize(
    ("clip", "ref", "size", "offset", "first", "matched"),
    [
        pytest.param(
            "releases/webrtc_chrome.mp4", "releases/webrtc_chrome.webm", (240, 136), 0, 0, 899, marks=pytest.mark.slow
        ),
        ("releases/moviepy_big_buck_bunny_0_30.webm", "releases/moviepy_doc_example2.mp4", (320, 180), 120, 0, 48),
        ("releases/moviepy_doc_example2.mp4", "releases/moviepy_big_buck_bunny_0_30.webm", (320, 180), -120, 120, 48),
        pytest.param(
            "releases/intel_one-by-one-person-detection.mp4",
            "releases/intel_preview_one-by-one-person-detection.gif",
            (240, 136),
            230,
            0,
            39,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_known_pairs_of_releases(clip, ref, size, offset, first, matched):
    found = vs_align.analyse(footage(clip, *size), footage(ref, *size))
    assert found.offset_frames == offset
    assert found.offset.share > 0.97
    (segment,) = found.segments
    assert (segment.first, segment.last, segment.offset) == (first, first + matched - 1, offset)
    assert (found.frame >= 0).sum() == matched


@needs_footage
@pytest.mark.parametrize("crf", [None, pytest.param(30, marks=pytest.mark.slow)])
def test_a_film_cut_in_two_places(crf):
    source = footage("real/webrtc_mixed-content.webm", 320, 180)
    clip = source[:78] + source[108:138] + footage("real/psd_testvideo.mp4", 320, 180)[100:150] + source[138:]
    found = vs_align.analyse(clip if crf is None else x264(clip, crf), source, geometry=None)
    assert [(s.first, s.last, s.offset) for s in found.segments] == [(0, 77, 0), (108, 137, -30), (138, 393, 20)]
    assert [(b.missing, b.inserted) for b in found.breaks] == [(30, 0), (0, 50)]


@needs_footage
@pytest.mark.parametrize(
    ("crop", "without_geometry"),
    [
        pytest.param((4.8, 3.6, 470.4, 352.8), 0.95, id="zoom", marks=pytest.mark.slow),
        pytest.param((24, 0, 456, 342), 0.5, id="crop", marks=pytest.mark.slow),
    ],
)
def test_a_zoom_or_a_crop_is_found_and_undone(crop, without_geometry):
    source = footage("real/sam2_01_dog.mp4", 480, 360, frames=slice(0, 150))
    left, top, width, height = crop
    order = [n for n in range(6, 150) if n % 17]
    clip = retime(source, order).resize.Bicubic(
        480, 360, src_left=left, src_top=top, src_width=width, src_height=height
    )
    truth = np.array(order)
    there = np.isin(np.arange(150), truth)

    def exact(found: vs_align.Alignment) -> float:
        shown = np.where(found.frame >= 0, truth[found.frame], -1)
        return close(shown[there], np.arange(150)[there], source).mean()

    found = vs_align.analyse(clip, source)
    geometry = found.geometry
    assert (geometry.scale_x, geometry.scale_y) == pytest.approx((480 / width, 360 / height), abs=1e-3)
    assert (geometry.shift_x, geometry.shift_y) == pytest.approx((-left * 480 / width, -top * 360 / height), abs=0.25)
    assert exact(found) > 0.98
    assert exact(vs_align.analyse(clip, source, geometry=None)) < without_geometry
    again = vs_align.analyse(clip, source, geometry=geometry)
    np.testing.assert_array_equal(again.frame, found.frame)


# ---------------------------------------------------------------- how it reads


def test_each_clip_is_read_in_order_and_few_times(film):
    clip, ref = Requests(film), Requests(film)
    vs_align.analyse(clip.clip, ref.clip, geometry=None)
    # In small, for the measure, and five frames for the fingerprint.
    assert max(clip.count.values()) <= 3
    assert max(ref.count.values()) <= 3


def test_threads_change_nothing(film):
    clip = retime(film, [*range(3, 50), *range(52, 120)])
    before = vs.core.num_threads
    try:
        vs.core.num_threads = 1
        one = vs_align.analyse(clip, film)
        vs.core.num_threads = 4
        four = vs_align.analyse(clip, film)
    finally:
        vs.core.num_threads = before
    for name in ("frame", "score", "confidence"):
        np.testing.assert_array_equal(getattr(one, name), getattr(four, name))


def test_an_interrupt_ends_it(film, monkeypatch):
    def interrupted(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(module._Search, "_scores", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        vs_align.analyse(film, film)
    assert threading.active_count() <= before + vs.core.num_threads
    film.get_frame(5).close()


def test_progress_goes_to_the_log(film, monkeypatch, caplog, capfd):
    monkeypatch.setattr("vs_align.analysis.reading._SECONDS_BETWEEN_NOTES", 0.0)
    with caplog.at_level(logging.INFO, logger="vs_align"):
        vs_align.analyse(film, film)
    assert any("comparing: 120 of 120 (100 %)" in record.getMessage() for record in caplog.records)
    assert not capfd.readouterr().out


def test_a_frame_that_cannot_be_made_is_an_error(film):
    def fail(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        raise RuntimeError("this frame is broken")

    with pytest.raises(vs.Error, match="this frame is broken"):
        vs_align.analyse(film.std.ModifyFrame(film, fail), film)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"clip": 3}, TypeError, "clip must be a VapourSynth video clip"),
        ({"ref": None}, TypeError, "ref must be a VapourSynth video clip"),
        ({"similarity": "ssim"}, ValueError, "similarity must be one of"),
        ({"geometry": "crop"}, ValueError, "geometry must be one of 'auto'"),
        ({"geometry": 2.5}, TypeError, "geometry must be"),
        ({"tr": 0}, ValueError, "tr must be at least 1"),
        ({"tr": "20"}, TypeError, "tr must be an integer"),
        ({"clip_rate": 0}, ValueError, "clip_rate must be a frame rate"),
        ({"ref_rate": "fast"}, ValueError, "ref_rate must be a frame rate"),
        ({"ref_rate": [24]}, TypeError, "ref_rate must be a frame rate"),
        ({"clip_rate": float("nan")}, ValueError, "clip_rate must be a frame rate"),
        ({"engine": "vship"}, ValueError, "engine is for butteraugli"),
        ({"device": "tpu"}, ValueError, "device must be"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(film, options, error, says):
    with pytest.raises(error) as raised:
        vs_align.analyse(**{"clip": film, "ref": film, **options})
    one_line("vs_align.analyse", raised, says)


def test_more_distances_than_memory_should_hold_are_refused_before_anything_is_read():
    clip = Requests(vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, 1 << 20))
    with pytest.raises(ValueError) as raised:
        vs_align.analyse(clip.clip, clip.clip, tr=40)
    one_line("vs_align.analyse", raised, "tr must be at most 15 for 1048576 frames")
    assert not clip.taken()


def test_apply_gives_the_matches(film):
    clip = retime(film, [*range(4, 120)])
    found = vs_align.analyse(clip, film)
    shown = found.apply(clip)
    assert (shown.num_frames, shown.fps) == (120, film.fps)
    noted = props(shown)
    assert [frame["AlignFrame"] for frame in noted] == found.frame.tolist()
    assert [frame["AlignScore"] for frame in noted] == found.score.tolist()
    for n in (119, 4, 60):
        np.testing.assert_array_equal(np.asarray(shown.get_frame(n)[0]), np.asarray(film.get_frame(n)[0]))
