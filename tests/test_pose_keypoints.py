"""`vs_align.Keypoints`: files, COCO, arrays, and what of these is refused."""

import json

import numpy as np
import pytest
import vapoursynth as vs
from helpers import one_line
from pose_scenes import RATE, pair, passed_by, performance

import vs_align
from vs_align.checks import Checks


def blank(length: int, rate: tuple[int, int] = (25, 1)) -> vs.VideoNode:
    return vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, length, *rate, keep=True)


def given(value: object, clip: vs.VideoNode) -> vs_align.Keypoints:
    return vs_align.Keypoints.of(Checks("vs_align.temporal"), value, clip, "keypoints", "clip")


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    made = performance(3, np.arange(12) / RATE)
    made[4] = 0
    return made


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_what_is_saved_is_loaded(tmp_path, points, ending) -> None:
    clip = blank(12, (30000, 1001)).std.SetFrameProps(_SARNum=4, _SARDen=3)
    found = given(points, clip)
    assert found.pixel_shape == pytest.approx(4 / 3) and found.size == (64, 48)
    assert found.seen.tolist() == [n != 4 for n in range(12)]
    path = tmp_path / f"a.{ending}"
    found.save(path)
    again = vs_align.Keypoints.load(path, clip)
    assert np.array_equal(again.points, found.points) and np.array_equal(again.seen, found.seen)
    assert (again.size, again.rate, again.pixel_shape) == (found.size, found.rate, found.pixel_shape)
    assert np.array_equal(again.motion.degrees, found.motion.degrees)
    assert list(tmp_path.iterdir()) == [path]


def test_a_numpy_file_is_an_array(tmp_path, points) -> None:
    np.save(tmp_path / "a.npy", points)
    assert np.array_equal(vs_align.Keypoints.load(tmp_path / "a.npy").points[0], points[0])


def test_coco_results_follow_the_person_and_count_frames_by_image_id(tmp_path) -> None:
    made = pair(2, 80).ref
    rows = passed_by(made, 2)
    assert len(rows) > len(made)
    path = tmp_path / "alphapose.json"
    path.write_text(json.dumps([{**row, "image_id": f"video2_{row['image_id'] + 1:06}.jpg"} for row in rows]))
    found = vs_align.Keypoints.load(path, blank(len(made)))
    assert np.array_equal(found.points, made)


def test_a_coco_data_set_has_its_frames_in_the_order_of_its_images(tmp_path, points) -> None:
    order = np.random.default_rng(0).permutation(12).tolist()
    flags = np.where(points[..., 2:] > 0, 2, 0)
    flags[2, 9] = 1
    document = {
        "images": [{"id": 100 + k, "width": 640, "height": 360} for k in order],
        "annotations": [
            {"image_id": 100 + k, "keypoints": np.concatenate([points[n, :, :2], flags[n]], -1).ravel().tolist()}
            for n, k in enumerate(order)
            if n != 4
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    found = vs_align.Keypoints.load(tmp_path / "a.json")
    assert found.size == (640, 360) and found.points[2, 9, 2] == 0.5 and not found.seen[4]
    assert np.allclose(np.delete(found.points, 4, 0)[..., :2], np.delete(points, 4, 0)[..., :2])


def test_frames_that_results_leave_out_are_frames_without_a_person(tmp_path, points) -> None:
    rows = [{"image_id": n, "keypoints": points[n].ravel().tolist()} for n in (0, 1, 2, 6)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert vs_align.Keypoints.load(tmp_path / "a.json", blank(12)).seen.tolist() == [
        n in (0, 1, 2, 6) for n in range(12)
    ]


def test_a_joint_that_is_no_number_is_missing(points) -> None:
    made = points.copy()
    made[1, 7] = np.nan
    assert given(made, blank(12)).points[1, 7].tolist() == [0, 0, 0]


ARRAYS = {
    "two columns": (
        lambda p: p[..., :2],
        ValueError,
        r"keypoints must have shape \(frames, 17, 3\).*not \(12, 17, 2\)",
    ),
    "33 joints": (lambda p: np.zeros((12, 33, 3)), ValueError, r"must have shape .*not \(12, 33, 3\)"),
    "too short": (lambda p: p[:-2], ValueError, r"keypoints has 10 frames and clip 12; give those of this clip"),
    "sure as per cent": (lambda p: p * [1, 1, 97], ValueError, r"confidences of 0 to 1 in its last column, not 97"),
    "nobody": (np.zeros_like, ValueError, r"keypoints shows no joint in any frame"),
    "ragged": (lambda p: [[1, 2], [3]], ValueError, r"keypoints must hold numbers"),
    "a number": (lambda p: 3, TypeError, r"keypoints must be Keypoints, an array .* file's path, not int"),
    "no file": (lambda p: "nowhere.npz", RuntimeError, r"keypoints cannot be read from nowhere.npz"),
}


@pytest.mark.parametrize("call", [vs_align.temporal, vs_align.analyse], ids=["temporal", "analyse"])
@pytest.mark.parametrize("case", ARRAYS)
def test_keypoints_that_are_none_of_the_clip_are_refused_in_one_line(points, case, call) -> None:
    make, kind, says = ARRAYS[case]
    with pytest.raises(kind) as error:
        call(blank(12), blank(12), similarity="pose", keypoints=make(points), ref_keypoints=points)
    one_line(f"vs_align.{call.__name__}", error, says)


FILES = {
    "cut off": ("a.json", '{"format": "vs_align keypoints", "version": 1, "keyp', "cut off or no JSON"),
    "no keypoints": ("a.json", '{"some": "thing"}', "holds no keypoints"),
    "an empty list": ("a.json", "[]", "holds no keypoints"),
    "a version": ("a.json", '{"format": "vs_align keypoints", "version": 9, "keypoints": [], "seen": []}', "version 9"),
    "no array": ("a.npz", "PK nonsense", "cut off or holds no keypoints"),
    "no NumPy file": ("a.npy", "nonsense", "cut off or no array"),
    "few joints": ("a.json", '[{"image_id": 0, "keypoints": [1, 2, 3]}]', "51 numbers"),
    "no frame": ("a.json", '[{"image_id": "first", "keypoints": []}]', "no frame number"),
    "long": ("a.json", json.dumps([{"image_id": n, "keypoints": [1.0] * 51} for n in range(13)]), "13 frames"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_damaged_or_something_else_are_refused_in_one_line(tmp_path, case) -> None:
    name, content, says = FILES[case]
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError) as error:
        vs_align.Keypoints.load(tmp_path / name, blank(12))
    one_line("vs_align.Keypoints.load", error, rf"{name} is refused: .*{says}")


def test_a_saved_file_that_is_cut_off_anywhere_is_refused(tmp_path, points) -> None:
    given(points, blank(12)).save(tmp_path / "a.npz")
    content = (tmp_path / "a.npz").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        (tmp_path / "a.npz").write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match="is refused: it is cut off"):
            vs_align.Keypoints.load(tmp_path / "a.npz")


@pytest.mark.parametrize("option", [{"keypoints": "a.npz"}, {"ref_keypoints": "a.npz"}, {"mirror": True}])
@pytest.mark.parametrize("call", [vs_align.temporal, vs_align.analyse], ids=["temporal", "analyse"])
def test_what_is_for_pose_is_refused_elsewhere(option, call) -> None:
    with pytest.raises(ValueError) as error:
        call(blank(3), blank(3), similarity="structure", **option)
    one_line(f"vs_align.{call.__name__}", error, r'is for similarity="pose"; leave it out')


@pytest.mark.parametrize("ending", ["npz", "json", "npy"])
def test_a_clip_of_another_length_is_refused_at_load(tmp_path, points, ending) -> None:
    path = tmp_path / f"a.{ending}"
    np.save(path, points) if ending == "npy" else given(points, blank(12)).save(path)
    with pytest.raises(ValueError) as error:
        vs_align.Keypoints.load(path, blank(13))
    one_line("vs_align.Keypoints.load", error, "it has 12 frames, the clip 13")
