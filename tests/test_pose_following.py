"""One person followed among several, the square around them, and frames in which nobody was seen."""

import numpy as np
import pytest

from vs_align.poses.following import between, completed, followed, squares

RATE = 6.0


def box(x: float, y: float = 100, wide: float = 60, tall: float = 160, sure: float = 0.9) -> list[float]:
    return [x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2, sure]


def times(count: int) -> np.ndarray:
    return np.arange(count) / RATE


def middles(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 0] + boxes[:, 2]) / 2


def test_the_larger_of_two_is_followed_whatever_their_order_in_a_frame() -> None:
    frames = [[box(100), box(400, tall=240, wide=90)], [box(400, tall=240, wide=90), box(100)]] * 10
    found, places, _, more = followed([np.array(each) for each in frames], times(20))
    assert (middles(found) == 400).all() and more
    assert places.tolist() == [1, 0] * 10


def test_a_larger_person_who_walks_through_does_not_draw_it_away() -> None:
    frames = [[box(200 + n)] for n in range(30)]
    for n in range(10, 20):
        frames[n].insert(0, box(-200 + 80 * (n - 10), tall=220, wide=85))
    found, places, _, more = followed([np.array(each) for each in frames], times(30))
    # Where both stand in one place it may be either.
    assert np.abs(middles(found) - (200 + np.arange(30))).max() <= 20
    assert more and (places >= 0).all()


@pytest.mark.parametrize("step_s", [1.001, 2.0])
def test_frames_more_than_a_second_apart_are_of_one_person(step_s: float) -> None:
    # Twelve, each after some in which nobody was looked for.
    frames = [np.array([box(100 + n)]) if n % 5 == 0 else np.empty((0, 5)) for n in range(60)]
    assert np.flatnonzero(followed(frames, np.arange(60) * step_s / 5).places >= 0).tolist() == list(range(0, 60, 5))


def test_somebody_who_stays_and_is_larger_is_gone_over_to() -> None:
    frames = [[box(100)]] * 12 + [[box(100), box(500, tall=300, wide=110)]] * 60
    found = followed([np.array(each) for each in frames], times(72))
    assert middles(found.boxes)[-1] == 500 and middles(found.boxes)[0] == 100
    assert np.flatnonzero(found.torn).tolist() == [11]


def test_a_runner_is_followed_and_no_bystander() -> None:
    # Half a height between two looks.
    frames = [[box(50 + 80 * n), box(900, tall=90, wide=40)] for n in range(20)]
    found = followed([np.array(each) for each in frames], times(20))
    assert np.array_equal(middles(found.boxes), 50 + 80 * np.arange(20)) and not found.torn.any()


def test_missed_frames_lie_on_the_line_between_their_neighbours() -> None:
    frames = [np.array([box(100 + 10 * n)]) for n in range(9)]
    frames[3] = frames[4] = np.empty((0, 5))
    found, places, _, more = followed(frames, times(9))
    assert middles(found) == pytest.approx(100 + 10 * np.arange(9))
    assert places.tolist() == [0, 0, 0, -1, -1, 0, 0, 0, 0] and not more


def test_a_bystander_is_not_taken_while_the_person_is_missed() -> None:
    frames = [np.array([box(100), box(600, tall=120, wide=45)]) for _ in range(20)]
    frames[8] = frames[9] = np.array([box(600, tall=120, wide=45)])
    found, places, _, _ = followed(frames, times(20))
    assert (middles(found) == 100).all() and places[8] == places[9] == -1


def test_nobody_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="no person"):
        followed([np.empty((0, 5))] * 3, times(3))


def test_between_two_people_there_is_nobody() -> None:
    frames = [np.array([box(100)])] * 10 + [np.empty((0, 5))] * 3 + [np.array([box(700, tall=300, wide=110)])] * 10
    found = followed(frames, times(23))
    assert set(middles(found.boxes)) == {100, 700}
    cut = between(found.boxes, 4 * np.arange(23), found.torn, 92)
    assert set(middles(cut)) == {100, 700} and (np.diff(middles(cut)) != 0).sum() == 1


def test_the_square_has_one_side_and_stays_inside() -> None:
    boxes = np.array([box(100 + 20 * n, y=200)[:4] for n in range(20)])
    boxes[7] = box(240, y=200, wide=900, tall=900)[:4]
    cut = squares(boxes, np.ones(20, bool), (640, 480))
    sides = np.full(20, 160.0)
    sides[7] = 900
    # The 95th percentile of the longer sides, and a fifth more.
    assert cut[:, 2] == pytest.approx(1.2 * np.quantile(sides, 0.95))
    assert (cut[:, 0] >= 0).all() and (cut[:, 0] + cut[:, 2] <= 640).all()
    assert (cut[:, 1] >= 0).all() and (cut[:, 1] + cut[:, 2] <= 480).all()


def test_a_square_that_is_taller_than_the_picture_is_centred_on_it() -> None:
    cut = squares(np.array([box(300, y=50, tall=110)[:4]] * 4), np.ones(4, bool), (640, 100))
    assert cut[:, 2] == pytest.approx(132)
    assert cut[:, 1] == pytest.approx((100 - 132) / 2)


def test_frames_without_a_person_are_filled_in_and_less_sure() -> None:
    points = np.zeros((60, 17, 3))
    points[:, :, 0] = np.arange(60)[:, None]
    points[..., 2] = 0.8
    seen = np.ones(60, bool)
    seen[[0, 10, 11]] = seen[20:50] = False
    points[~seen] = 0
    out = completed(points, seen, np.arange(60) / 25)
    assert out[10, 3, 0] == pytest.approx(10) and out[11, 3, 2] == pytest.approx(0.4)
    assert out[35, 3, 0] == pytest.approx(35) and out[35, 3, 2] == 0
    assert out[0, 3, 0] == pytest.approx(1) and out[0, 3, 2] == 0
    assert np.array_equal(out[seen], points[seen])
