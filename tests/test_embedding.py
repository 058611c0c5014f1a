"""similarity="embedding" in `vs_align.temporal` and `vs_align.analyse`, by the network that comes with the package."""

import random
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import vapoursynth as vs
from helpers import EACH_RGB_FORMAT, Requests, converted, drawn, held, moving, retime, values

import vs_align
from vs_align.filters.scores import Candidates
from vs_align.matching.rates import RateMap
from vs_align.similarity.embedding.framing import IDENTITY, Framing
from vs_align.similarity.embedding.measure import Embedding
from vs_align.similarity.embedding.networks import open_network

WIDTH, HEIGHT = 96, 72
# A copy that drops and repeats frames of the film, and where it stands at each of ref's frames.
KEPT = [*range(7), 7, 7, 8, 9, 11, 12, 13, 14, 15, 16, 16, 16, *range(17, 30), 31, 33, *range(34, 48)]


def film(length: int = 48, format: int = vs.GRAY8, seed: int = 0) -> vs.VideoNode:
    return held(drawn(moving(WIDTH, HEIGHT, seed=seed), length, format))


def slow(n: int) -> np.ndarray:
    """A scene for `drawn`: a landscape that stands still, and faint clouds that pass by."""
    rng = np.random.default_rng(0)
    land = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)), (0, 0), 2)
    picture = 0.5 + 0.2 * land / land.std()
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for x, y, across, down in rng.uniform((0, 0, -4, -4), (WIDTH, HEIGHT, 4, 4), (12, 4)):
        place = (columns - x - across * n) ** 2 + (rows - y - down * n) ** 2
        picture = picture + 0.3 * np.exp(-place / 72) * np.sign(across)
    return np.clip(np.stack([picture] * 3), 0, 1)


def synced(clip: vs.VideoNode, ref: vs.VideoNode, tr: int = 8, **options: object) -> vs.VideoNode:
    return vs_align.temporal(clip, ref, tr=tr, similarity="embedding", **options)


def released(clip: vs.VideoNode, zoom: float = 1.03, right: float = 0.0, below: float = 0.0) -> vs.VideoNode:
    """The clip as another release has it: zoomed and shifted by shares of half the frame, graded, with grain."""
    matrix = np.array(
        [
            [zoom, 0, (1 - zoom) * (WIDTH - 1) / 2 + right * WIDTH / 2],
            [0, zoom, (1 - zoom) * (HEIGHT - 1) / 2 + below * HEIGHT / 2],
        ]
    )

    def wear(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        picture = np.asarray(f[0]).astype(np.float32)
        picture = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        picture = 200 * (picture.clip(0, 255) / 255) ** 0.7 + 30
        picture[4:12, 60:90] = 235
        grain = np.random.default_rng(n).normal(0, 4, picture.shape)
        np.copyto(np.asarray(frame[0]), (picture + grain).clip(0, 255), casting="unsafe")
        return frame

    return held(clip.std.ModifyFrame(clip, wear))


def found(clip: vs.VideoNode, order: Sequence[int]) -> dict[int, tuple[int, float]]:
    made = {}
    for n in order:
        props = clip.get_frame(n).props
        made[n] = props["AlignFrame"], props["AlignScore"]
    return made


# ---------------------------------------------------------------- what it finds


def test_the_same_frames_are_found_in_another_release_where_planestats_fails() -> None:
    ref = held(drawn(slow, 48))
    clip = released(retime(ref, KEPT), 1.05)
    shown = np.array(KEPT)
    # The true frame, or the nearest that is left where it was dropped.
    nearest = [int(np.abs(shown - n).min()) for n in range(48)]

    def right(frames: list[int]) -> float:
        return float(np.mean([abs(shown[m] - n) == nearest[n] for n, m in enumerate(frames)]))

    assert right(values(synced(clip, ref))) >= 0.85
    assert right(values(vs_align.temporal(clip, ref, tr=8))) < 0.6


@pytest.mark.parametrize("length", [8, pytest.param(12, marks=pytest.mark.slow)])
def test_a_few_frames_are_found_in_a_longer_clip(length: int) -> None:
    """Of an excerpt's frames less is known of what is around them, and the mean that is taken off is another."""
    whole = held(drawn(slow, 72))
    ref, clip = whole[30 : 30 + length], released(whole)
    result = synced(clip, ref, tr=72)
    assert np.mean(np.array(values(result)) == np.arange(30, 30 + length)) >= 0.8
    order = random.Random(0).sample(range(length), length)
    assert found(synced(clip, ref, tr=72), order) == found(result, range(length))


def test_equal_frames_score_zero() -> None:
    ref = film()
    result = synced(ref, ref)
    assert values(result) == list(range(48))
    assert values(result, "AlignScore") == [0.0] * 48


def test_a_static_clip_stays_in_step() -> None:
    clip = retime(film(1), [0] * 20)
    result = synced(clip, clip)
    assert values(result) == list(range(20))
    assert values(result, "AlignScore") == [0.0] * 20


def test_logos_and_grades_that_do_not_change_do_not_count() -> None:
    ref = film()
    logo = ref.std.BlankClip(width=30, height=10, color=235)
    beside = ref.std.Crop(left=60, right=6, top=4, bottom=58).std.Expr("235")
    assert (beside.width, beside.height) == (logo.width, logo.height)
    top = ref.std.Crop(bottom=HEIGHT - 4)
    middle = ref.std.Crop(top=4, bottom=HEIGHT - 14)
    middle = vs.core.std.StackHorizontal([middle.std.Crop(right=36), beside, middle.std.Crop(left=90)])
    clip = vs.core.std.StackVertical([top, middle, ref.std.Crop(top=14)]).std.Expr("x 0.8 * 20 +")
    assert values(synced(clip, ref)) == list(range(48))


@pytest.mark.parametrize(
    ("zoom", "right", "below"), [(1.0, 0.0, 0.0), (1.05, 0.0, 0.0), (0.97, 0.0, 0.0), (1.05, 0.02, -0.015)]
)
def test_the_framing_is_found(zoom: float, right: float, below: float) -> None:
    ref = film()
    clip = released(ref, zoom, right, below)
    measure = Embedding(clip, ref, open_network(None, None), 33)
    measure.told(lambda n: np.arange(max(0, n - 8), min(48, n + 9)))
    framing = driven(measure._framing(24))
    assert framing == pytest.approx(Framing(zoom, zoom, right, below), abs=0.016)
    assert zoom != 1.0 or framing == IDENTITY


def driven(steps):
    """Run a measure's work outside the frame server."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send([request.clip.get_frame(request.frame) for request in wanted])
    except StopIteration as done:
        return done.value


def test_the_path_of_dtw_and_analyse() -> None:
    ref = film()
    clip = released(retime(ref, list(range(5, 48))), 1.02)
    path = synced(clip, ref, mode="dtw", lag=6)
    expected = [max(0, n - 5) for n in range(48)]
    assert np.mean(np.array(values(path))[5:] == expected[5:]) >= 0.95
    whole = vs_align.analyse(clip, ref, similarity="embedding", geometry=None)
    assert whole.similarity == "embedding"
    assert np.mean(whole.frame[5:] == expected[5:]) >= 0.95


# ---------------------------------------------------------------- in any order


def test_any_order_of_requests_gives_the_same() -> None:
    ref = film(52)
    clip = released(retime(ref, [*range(3, 30), *range(32, 51)]))
    in_order = found(synced(clip, ref, tr=4), range(52))
    shuffled = random.Random(4).sample(range(52), 52)
    assert found(synced(clip, ref, tr=4), shuffled) == in_order
    at_once = synced(clip, ref, tr=4)
    waiting = [at_once.get_frame_async(n) for n in range(51, -1, -1)]
    assert [f.result().props["AlignScore"] for f in reversed(waiting)] == [in_order[n][1] for n in range(52)]


def test_what_was_dropped_is_computed_again() -> None:
    ref = film(200)
    clip = released(ref)
    result = synced(clip, ref, tr=2)
    order = [5, 170, 6, 171, 5]
    first = found(result, order)
    assert first == found(synced(clip, ref, tr=2), [170, 5, 6, 171])


def test_in_order_frames_are_read_as_they_come() -> None:
    clip, ref = Requests(film(80)), Requests(film(80))
    result = synced(clip.clip, ref.clip, out=film(80))
    result.get_frame(0)
    assert max(clip.count.values()) <= 2
    clip.taken()
    for n in range(1, 80):
        result.get_frame(n)
    # Each new one once: none that a later frame needs has been dropped in between.
    assert max(clip.count.values()) <= 1
    assert max(ref.count.values()) <= 2


def test_one_frame_reads_what_its_framing_needs_and_no_more() -> None:
    clip, ref = Requests(film(400)), Requests(film(400))
    synced(clip.clip, ref.clip, out=film(400)).get_frame(200)
    for side in (clip, ref):
        taken = side.taken()
        # Two blocks of 16 on each side, the window, and the frames whose mean is taken off.
        assert min(taken) >= 200 - 48 - 8 - 12
        assert max(taken) <= 200 + 48 + 8 + 12


# ---------------------------------------------------------------- odd clips


@pytest.mark.parametrize("tr", [0, 1, 20])
@pytest.mark.parametrize(("length", "size"), [(1, (96, 72)), (2, (96, 72)), (5, (16, 16)), (3, (1, 1)), (2, (400, 3))])
def test_tiny_clips(length: int, size: tuple[int, int], tr: int) -> None:
    clip = held(drawn(moving(*size), length))
    result = synced(clip, clip, tr=tr)
    assert values(result) == list(range(length))
    shorter = synced(clip[0], clip, tr=tr)
    assert all(frame == 0 for frame in values(shorter))


@EACH_RGB_FORMAT
def test_rgb_formats(format: int) -> None:
    ref = film(30, format)
    assert values(synced(ref[3:], ref))[3:] == list(range(27))


@pytest.mark.parametrize("format", [vs.GRAY16, vs.GRAYH, vs.GRAYS, vs.YUV420P8, vs.YUV444P16, vs.YUV444PS])
def test_grey_and_yuv_formats(format: int) -> None:
    ref = converted(film(30, vs.RGB24), format)
    assert values(synced(ref[3:], ref))[3:] == list(range(27))


def test_depth_does_not_matter() -> None:
    ref = film(30)
    clip = released(ref)
    eight, sixteen = (
        found(synced(converted(clip, f), converted(ref, f)), range(30)) for f in (vs.GRAY8, vs.GRAY16)
    )
    assert [eight[n][0] for n in eight] == [sixteen[n][0] for n in sixteen]
    assert [eight[n][1] for n in eight] == pytest.approx([sixteen[n][1] for n in sixteen], abs=2e-3)


def test_a_frame_that_is_not_finite_is_never_chosen() -> None:
    ref = film(30, vs.GRAYS)
    bad = ref.std.ModifyFrame(ref, poisoned)
    result = found(synced(bad, ref), range(30))
    assert 10 not in [frame for frame, _ in result.values()]
    assert all(np.isfinite(score) for _, score in result.values())
    assert synced(ref, bad).get_frame(10).props["AlignScore"] == np.inf


def poisoned(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
    frame = f.copy()
    if n == 10:
        np.asarray(frame[0])[5, 5] = np.nan
    return frame


def test_frame_rates_and_lengths_that_differ() -> None:
    ref = film(40)
    clip = retime(ref, [n // 2 for n in range(80)])
    result = synced(clip, ref, tr=6, clip_num=50, clip_den=1, ref_num=25, ref_den=1)
    assert [m // 2 for m in values(result)] == list(range(40))


def test_no_candidates_and_no_window() -> None:
    ref = film(40)
    assert values(synced(ref[:4], ref, tr=2))[10:] == [3] * 30
    assert values(synced(ref, ref, tr=None, mode="dtw")) == list(range(40))


def test_the_windows_of_a_measure_are_the_searchs() -> None:
    candidates = Candidates(rates=RateMap(), tr=2, clip_length=10)
    assert candidates.window(1).candidates.tolist() == [0, 1, 2, 3]
