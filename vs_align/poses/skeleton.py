"""The 17 keypoints of COCO, what joins them, and the angles between them.

Source: COCO (Lin et al., 2014) for the points; Infocusp's PoseSync (arXiv 2308.12600) for the angles.
"""

__all__ = ["ANGLES", "ANGLE_NAMES", "LIMBS", "MIRRORED", "MIRRORED_ANGLES", "POINTS", "SKELETON"]

POINTS = 17
"""Keypoints of a person: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right."""

SKELETON = (
    *((0, 1), (0, 2), (1, 3), (2, 4)),
    *((5, 6), (5, 11), (6, 12), (11, 12)),
    *((5, 7), (7, 9), (6, 8), (8, 10)),
    *((11, 13), (13, 15), (12, 14), (14, 16)),
)
"""Pairs of keypoints that a drawing joins: head, trunk, arms, legs."""

LIMBS = SKELETON[4:]
"""Those of the body without the head."""

ANGLES = (
    *((11, 5, 7), (12, 6, 8)),
    *((5, 7, 9), (6, 8, 10)),
    *((12, 11, 13), (11, 12, 14)),
    *((11, 13, 15), (12, 14, 16)),
    *((5, 11, 13), (6, 12, 14)),
)
"""Keypoints a, b, c of each angle, which is the one at b."""

ANGLE_NAMES = (
    *("left shoulder", "right shoulder", "left elbow", "right elbow"),
    *("left hip", "right hip", "left knee", "right knee", "left waist", "right waist"),
)
"""What each angle is called."""

MIRRORED = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""For each keypoint the one on the body's other side."""

MIRRORED_ANGLES = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8)
"""For each angle the one on the body's other side."""
