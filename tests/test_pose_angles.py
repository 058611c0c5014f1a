"""The angles at joints and the distance of poses, against tables worked by hand."""

import numpy as np
import pytest

from vs_align.poses.angles import circular_difference, joint_angles, mirrored_angles, pose_distance
from vs_align.poses.motion import Comparison, Motion, steadied
from vs_align.poses.skeleton import ANGLE_NAMES, ANGLES, MIRRORED, MIRRORED_ANGLES

JOINT = {name: k for k, name in enumerate(ANGLE_NAMES)}
# A person seen from the front with the left arm straight out and bent up at the elbow; y points down.
STANDING = {
    0: (0, -60), 1: (3, -63), 2: (-3, -63), 3: (6, -60), 4: (-6, -60),
    5: (20, -40), 6: (-20, -40), 7: (40, -40), 8: (-20, -20), 9: (40, -60), 10: (-20, 0),
    11: (20, 0), 12: (-20, 0), 13: (20, 40), 14: (-20, 40), 15: (20, 80), 16: (-60, 40),
}  # fmt: skip
# Turning from the first arm of the angle to the second, clockwise on screen, by hand from the points above: the left
# shoulder from straight down to screen right, and the right knee from up to screen left, are three quarters of a turn.
BY_HAND = {
    "left shoulder": 270, "right shoulder": 0, "left elbow": 90, "right elbow": 180,
    "left hip": 270, "right hip": 90, "left knee": 180, "right knee": 270, "left waist": 180, "right waist": 180,
}  # fmt: skip


def pose(points: dict[int, tuple[float, float]] = STANDING, sure: float = 1.0) -> np.ndarray:
    return np.array([(*points[k], sure) for k in range(17)], float)


def test_right_angles_and_straight_limbs_are_what_the_hand_says() -> None:
    degrees, sure = joint_angles(pose())
    for name, expected in BY_HAND.items():
        assert degrees[JOINT[name]] == pytest.approx(expected, abs=1e-12), name
    assert (sure == 1).all()


def test_the_angles_are_those_of_the_page() -> None:
    page = (11, 5, 7), (12, 6, 8), (5, 7, 9), (6, 8, 10), (12, 11, 13), (11, 12, 14), (11, 13, 15), (12, 14, 16)
    assert (*page, (5, 11, 13), (6, 12, 14)) == ANGLES
    for (a, b, c), other in zip(ANGLES, MIRRORED_ANGLES, strict=True):
        assert (MIRRORED[a], MIRRORED[b], MIRRORED[c]) == ANGLES[other]


@pytest.mark.parametrize("first, second, apart", [(359, 1, 2), (1, 359, 2), (0, 180, 180), (10, 350, 20), (90, 90, 0),
                                                   (270, 0, 90), (0.25, 359.75, 0.5)])  # fmt: skip
def test_the_difference_of_angles_goes_the_shorter_way_round(first: float, second: float, apart: float) -> None:
    assert circular_difference(first, second) == pytest.approx(apart, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_scale_shift_and_rotation_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.uniform(-300, 300, (17, 2)), np.ones(17)])
    turn, scale, shift = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 20), rng.uniform(-900, 900, 2)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = points.copy()
    moved[:, :2] = points[:, :2] @ matrix.T + shift
    before, after = joint_angles(points), joint_angles(moved)
    assert circular_difference(before[0], after[0]).max() < 1e-9
    assert pose_distance(before, after) < 1e-9


def test_a_mirrored_pose_is_the_same_once_it_is_mirrored() -> None:
    points = pose()
    reflected = points[list(MIRRORED)] * [-1, 1, 1]
    own, other = joint_angles(points), joint_angles(reflected)
    assert pose_distance(own, other) > 20
    assert pose_distance(mirrored_angles(*own), other) == pytest.approx(0, abs=1e-9)
    # By hand: the left elbow's 90 is now the right one's, the other way round.
    assert other[0][JOINT["right elbow"]] == pytest.approx(270)


def test_the_distance_is_the_mean_weighted_by_the_less_sure_side() -> None:
    first, second = np.zeros(10), np.zeros(10)
    first[0], second[0] = 359, 1  # 2 apart, weight 0.5
    first[1], second[1] = 10, 70  # 60 apart, weight 0.25
    weights = np.zeros(10), np.zeros(10)
    weights[0][:2], weights[1][:2] = (0.5, 1.0), (0.9, 0.25)
    expected = (0.5 * 2 + 0.25 * 60) / 0.75
    assert pose_distance((first, weights[0]), (second, weights[1])) == pytest.approx(expected, abs=1e-12)


def test_a_joint_that_one_side_does_not_show_does_not_count() -> None:
    bent = dict(STANDING)
    bent[9] = (60, -40)
    own, other = pose(), pose(bent)
    assert pose_distance(joint_angles(own), joint_angles(other)) == pytest.approx(90 / 10)
    other[9, 2] = 0
    assert pose_distance(joint_angles(own), joint_angles(other)) == 0
    other[:, 2] = 0
    assert pose_distance(joint_angles(own), joint_angles(other)) == np.inf


def test_two_keypoints_in_one_place_have_no_angle() -> None:
    points = pose()
    points[9, :2] = points[7, :2]
    degrees, sure = joint_angles(points)
    assert (degrees[JOINT["left elbow"]], sure[JOINT["left elbow"]]) == (0, 0)
    assert sure[JOINT["left shoulder"]] == 1


def test_pixels_that_are_not_square_are_drawn_out_first() -> None:
    narrow = pose()
    narrow[:, 0] /= 1.5
    assert circular_difference(joint_angles(narrow, 1.5)[0], joint_angles(pose())[0]).max() < 1e-9
    leaning = pose()
    leaning[9, :2] = (60, -60)
    assert joint_angles(leaning, 2.0)[0][JOINT["left elbow"]] != pytest.approx(
        joint_angles(leaning)[0][JOINT["left elbow"]]
    )


def test_keypoints_are_averaged_as_they_are_sure() -> None:
    points = np.zeros((3, 17, 3))
    points[:, 0, 0], points[:, 0, 2] = (10, 99, 40), (1.0, 0.0, 0.5)
    middle = steadied(points, 25.0)[1, 0]
    assert middle[0] == pytest.approx((10 * 1 + 40 * 0.5) / 1.5)
    assert middle[2] == pytest.approx(0.5)
    assert np.array_equal(steadied(points, 5.0), points)


def test_identical_movements_are_at_no_distance_and_neighbours_in_time_count() -> None:
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(0, 2, (40, 17, 2)), 0) + rng.uniform(-200, 200, (17, 2))
    motion = Motion.of(np.concatenate([walk, np.ones((40, 17, 1))], -1), 25.0)
    compared = Comparison(motion, motion)
    for n in (0, 1, 20, 39):
        row = compared.row(n, 0, 40)
        assert row[n] == 0 and row.argmin() == n
        assert np.array_equal(Comparison(motion, motion).row(n, 7, 31), row[7:31])
    # By the definition: the mean over five frames on each side, those that both have.
    pairs = [(20 + k, 33 + k) for k in range(-5, 6)]
    apart = circular_difference(*(motion.degrees[list(part)] for part in zip(*pairs, strict=True)))
    assert compared.row(20, 33, 34)[0] == pytest.approx(float(apart.mean()), rel=1e-12)
    alone = Motion(motion.degrees, motion.sure, 4.0)
    assert Comparison(alone, alone).row(5, 9, 10)[0] == pytest.approx(
        float(pose_distance((motion.degrees[5], motion.sure[5]), (motion.degrees[9], motion.sure[9])))
    )
