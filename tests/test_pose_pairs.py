"""Two made people in step: `similarity="pose"` in `temporal` and `analyse`, by keypoints that are given."""

import numpy as np
import pytest
import vapoursynth as vs
from helpers import Requests, props, values
from pose_scenes import RATE, Pair, pair, passed_by, performance, sides, spoiled

import vs_align
from vs_align.analysis import coco
from vs_align.poses.skeleton import MIRRORED


def film(length: int, size: tuple[int, int] = (64, 48), format: int = vs.GRAY8) -> vs.VideoNode:
    return vs.core.std.BlankClip(None, *size, format, length, 25, 1, keep=True)


def aligned(made: Pair, **options: object) -> np.ndarray:
    found = vs_align.analyse(
        film(len(made.clip)), film(len(made.ref)), similarity="pose", keypoints=made.clip, ref_keypoints=made.ref,
        **options,
    )  # fmt: skip
    return found.frame


def by_path(made: Pair, **options: object) -> np.ndarray:
    # Other sizes and formats: whoever is compared, pictures are not.
    clip, ref = film(len(made.clip), (32, 96), vs.RGB24), film(len(made.ref))
    options = {"mode": "dtw", "tr": None, **options}
    out = vs_align.temporal(clip, ref, similarity="pose", keypoints=made.clip, ref_keypoints=made.ref, **options)
    assert (out.format.id, out.width, out.num_frames) == (vs.RGB24, 32, len(made.ref))
    return np.array(values(out))


def left_over(points: np.ndarray, seed: int) -> np.ndarray:
    """What is made of a person through whose frames a larger one walks."""
    return coco.one_person(coco.parsed(passed_by(points, seed), None).people, 1 / RATE)


def test_made_pairs_are_within_a_frame_and_three() -> None:
    errors, others = [], []
    for seed in range(20):
        made = pair(seed)
        followed = Pair(left_over(made.clip, seed), left_over(made.ref, seed), made.truth)
        others.append((followed.ref != made.ref).any((1, 2)).mean())
        errors.append(np.abs(aligned(followed) - made.truth))
    every = np.concatenate(errors)
    assert np.median(every) <= 1
    assert np.quantile(every, 0.95) <= 3
    assert np.mean(others) < 0.01


@pytest.mark.parametrize("way", [aligned, by_path])
def test_people_seen_from_two_sides_are_put_in_step(way) -> None:
    errors = [np.abs(way(made) - made.truth) for made in (sides(seed, 40) for seed in range(6))]
    every = np.concatenate(errors)
    assert np.median(every) <= 3
    assert np.quantile(every, 0.95) <= 20


def test_what_leaving_the_even_pace_costs_can_be_said_by_hand() -> None:
    made = sides(5, 40)
    given = [by_path(made, **options) for options in ({}, {"penalty": 0.05}, {"penalty": 5.0})]
    holds = [int((np.diff(frames) == 0).sum()) for frames in given]
    assert holds[1] > holds[0] > holds[2]


@pytest.mark.parametrize("seed", [0, 7])
def test_temporal_and_analyse_go_the_same_way(seed: int) -> None:
    made = pair(seed)
    found = by_path(made)
    assert np.median(np.abs(found - made.truth)) < 1.5
    assert np.array_equal(found, aligned(made))


def test_a_finite_window_and_a_path_through_it() -> None:
    made = pair(4, 120)
    reach = int(np.abs(made.truth - np.arange(len(made.truth))).max()) + 5
    for options in ({"tr": reach}, {"tr": reach, "lag": 60}):
        error = np.abs(by_path(made, **options) - made.truth)
        assert np.median(error) < 1.5 and np.quantile(error, 0.95) <= 4
    best = by_path(made, mode="match", tr=reach)
    assert np.median(np.abs(best - made.truth)) < 1.5


def test_frames_come_in_any_order_alike_and_none_of_the_pictures_is_read() -> None:
    made = pair(5, 60)
    clip, ref = Requests(film(len(made.clip))), Requests(film(len(made.ref)))
    out = vs_align.temporal(
        clip.clip, ref.clip, out=film(len(made.clip)), similarity="pose", mode="dtw", tr=None,
        keypoints=made.clip, ref_keypoints=made.ref,
    )  # fmt: skip
    # Whatever the call itself looks at does not count.
    clip.taken()
    back = [dict(out.get_frame(n).props)["AlignFrame"] for n in reversed(range(60))]
    assert back[::-1] == values(out)
    assert clip.taken() == set()


def test_somebody_who_faces_the_other_way_is_matched_in_a_mirror() -> None:
    made = pair(6, 120)
    other = made.clip[:, list(MIRRORED)] * [-1, 1, 1] + [700, 0, 0]
    turned = Pair(other, made.ref, made.truth)
    straight, mirrored = (np.abs(aligned(turned, mirror=mirror) - made.truth) for mirror in (False, True))
    assert np.median(mirrored) <= 1 and np.quantile(mirrored, 0.95) <= 4
    assert np.median(straight) > 3 * np.median(mirrored)


def test_the_same_performance_is_itself_at_cost_nothing() -> None:
    points = spoiled(performance(9, np.arange(50) / RATE), np.random.default_rng(9))
    found = vs_align.analyse(film(50), film(50), similarity="pose", keypoints=points, ref_keypoints=points)
    assert np.array_equal(found.frame, np.arange(50))
    assert (found.score == 0).all() and found.similarity == "pose"


def test_another_frame_rate_is_another_time_for_the_same() -> None:
    clip = performance(11, np.arange(100) / 50.0)
    ref = performance(11, np.arange(48) / 24.0)
    fast = vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, 100, 50, 1)
    slow = vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, 48, 24, 1)
    found = vs_align.analyse(fast, slow, similarity="pose", keypoints=clip, ref_keypoints=ref)
    assert np.abs(found.frame - np.arange(48) * 50 / 24).max() <= 1


def test_frames_that_show_nobody_are_passed_through_and_score_nothing() -> None:
    points = performance(13, np.arange(120) / RATE)
    gone = points.copy()
    gone[50:90] = 0
    out = vs_align.temporal(
        film(120), film(120), similarity="pose", mode="dtw", tr=None, keypoints=points, ref_keypoints=gone
    )
    shown = props(out)
    frames = np.array([each["AlignFrame"] for each in shown])
    assert (np.diff(frames) >= 0).all() and np.array_equal(frames[:45], np.arange(45))
    assert np.array_equal(frames[95:], np.arange(95, 120))
    assert shown[70]["AlignScore"] == np.inf and shown[10]["AlignScore"] == 0
    found = vs_align.analyse(film(120), film(120), similarity="pose", keypoints=points, ref_keypoints=gone)
    assert found.frame[70] == -1 and found.frame[10] == 10


@pytest.mark.slow
def test_long_clips_are_compared_near_a_rough_path() -> None:
    truth = np.arange(2600) * 0.9
    clip, ref = performance(21, np.arange(2400) / RATE), performance(21, truth / RATE)
    found = aligned(Pair(clip, ref, truth))
    assert np.quantile(np.abs(found - truth), 0.95) <= 3
