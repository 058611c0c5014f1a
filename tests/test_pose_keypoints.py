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


NAMES = {
    "ten digits": "{n:010}.png",
    "twelve digits": "film_{n:012}_keypoints.json",
    "a number in the ending": "{n}.jp2",
    "a size": "take2/{n:05}_720p.jpg",
    "a camera": "{n}_camera{odd}.jpg",
}


@pytest.mark.parametrize("case", NAMES)
def test_a_frame_is_the_number_by_which_names_differ(tmp_path, case) -> None:
    # Numbers of four digits, since one that is cut into pieces is another.
    made = performance(3, np.arange(20) / RATE)
    names = [NAMES[case].format(n=n, odd=n % 2) for n in range(1221, 1241)]
    rows = [{"image_id": name, "keypoints": each.ravel().tolist()} for name, each in zip(names, made, strict=True)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    found = vs_align.Keypoints.load(tmp_path / "a.json", blank(1240))
    assert np.flatnonzero(found.seen).tolist() == list(range(1220, 1240))
    assert np.array_equal(found.points[1220:], made)


def data_set(points: np.ndarray, frames: list[int], image: dict | None = None) -> dict:
    """Some frames as a data set; the images' names, or what ``image`` has instead, hold the frame."""
    say = image or {"file_name": "v_{:06}.jpg"}
    told = {
        n: {key: value.format(n) if isinstance(value, str) else n + value for key, value in say.items()} for n in frames
    }
    flags = np.where(points[..., 2:] > 0, 2, 0)
    return {
        "images": [{"id": n + 1, **told[n]} for n in frames],
        "annotations": [
            {
                "image_id": told[n].get("id", n + 1),
                "keypoints": np.concatenate([points[n, :, :2], flags[n]], -1).ravel().tolist(),
            }
            for n in frames
        ]
        + [{"image_id": told[frames[0]].get("id", frames[0] + 1), "category_id": 3, "keypoints": []}],
    }


SETS = {
    "shuffled": (np.random.default_rng(1).permutation(12).tolist(), None),
    "some missing": ([0, 1, 5, 6, 11], None),
    "some missing, by frame_id": ([0, 1, 5, 6, 11], {"frame_id": 0, "id": 4000}),
    "some missing, by id": ([0, 1, 5, 6, 11], {"id": 1}),
}


@pytest.mark.parametrize("case", SETS)
def test_images_of_a_data_set_are_the_frames_that_their_numbers_say(tmp_path, case) -> None:
    frames, image = SETS[case]
    made = performance(3, np.arange(12) / RATE)
    (tmp_path / "a.json").write_text(json.dumps(data_set(made, frames, image)))
    found = vs_align.Keypoints.load(tmp_path / "a.json", blank(12))
    assert np.flatnonzero(found.seen).tolist() == sorted(frames)
    assert np.array_equal(found.points[sorted(frames)], made[sorted(frames)])


def test_as_many_images_as_frames_are_all_of_them_whatever_their_numbers(tmp_path) -> None:
    made = performance(3, np.arange(12) / RATE)
    (tmp_path / "a.json").write_text(json.dumps(data_set(made, list(range(12)), {"file_name": "9{:02}0.jpg"})))
    assert np.array_equal(vs_align.Keypoints.load(tmp_path / "a.json", blank(12)).points, made)


def test_that_it_is_not_known_where_results_count_from_is_said(tmp_path, points, caplog) -> None:
    rows = [{"image_id": n, "keypoints": points[n].ravel().tolist()} for n in (1, 2, 6)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    vs_align.Keypoints.load(tmp_path / "a.json", blank(12))
    assert "neither frame 0 nor frame 12" in caplog.text


def test_a_little_above_one_is_sure(tmp_path, points) -> None:
    made = points.copy()
    made[2, 5:7, 2] = 1.04, -0.01
    assert given(made, blank(12)).points[2, 5:7, 2].tolist() == [1, 0]
    rows = [{"image_id": n, "keypoints": each.ravel().tolist()} for n, each in enumerate(made)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert vs_align.Keypoints.load(tmp_path / "a.json").points[2, 5:7, 2].tolist() == [1, 0]


def test_what_keypoints_do_not_say_the_clip_does(tmp_path, points) -> None:
    np.save(tmp_path / "a.npy", points)
    unknown = vs_align.Keypoints.load(tmp_path / "a.npy")
    unknown.save(tmp_path / "a.npz")
    assert unknown.size == (0, 0) and unknown.rate is None
    clip = blank(12, (50, 1)).std.SetFrameProps(_SARNum=4, _SARDen=3)
    for found in (vs_align.Keypoints.load(tmp_path / "a.npz", clip), given(unknown, clip)):
        assert (found.size, found.rate, found.pixel_shape) == ((64, 48), 50, pytest.approx(4 / 3))
        assert np.array_equal(found.motion.degrees, given(points, clip).motion.degrees)


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
    "far away": (lambda p: p * [1e200, 1, 1], ValueError, r"keypoints must have x and y in pixels, not "),
    "shares": (
        lambda p: p / [800, 800, 1],
        ValueError,
        r"x and y as shares of the picture; multiply them by its width",
    ),
    "hardly sure": (lambda p: p * [1, 1, 0.1], ValueError, r"keypoints shows no angle in any frame; .* 0.15 sure"),
    "complex": (lambda p: p + 1j, ValueError, r"keypoints must hold numbers"),
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


FEW = {"images": [{"id": 70, "file_name": "a.jpg"}, {"id": 900, "file_name": "b.jpg"}], "annotations": []}
FILES = {
    "cut off": ("a.json", '{"format": "vs_align keypoints", "version": 1, "keyp', "cut off or no JSON"),
    "no keypoints": ("a.json", '{"some": "thing"}', "holds no keypoints"),
    "an empty list": ("a.json", "[]", "holds no keypoints"),
    "a version": ("a.json", '{"format": "vs_align keypoints", "version": 9, "keypoints": [], "seen": []}', "version 9"),
    "no array": ("a.npz", "PK nonsense", "cut off or holds no keypoints"),
    "no NumPy file": ("a.npy", "nonsense", "cut off or no array"),
    "an archive": ("a.npy", "PK\x03\x04 nonsense", "cut off or no array"),
    "a huge number": ("a.json", json.dumps([{"image_id": 0, "keypoints": [10**400, *[1.0] * 50]}]), "51 numbers"),
    "a huge frame": ("a.json", json.dumps([{"image_id": 10**300, "keypoints": [1.0] * 51}]), "no frame number"),
    "images that are nowhere": ("a.json", json.dumps(FEW), "2 images, the clip 12 frames, and no file_name or id says"),
    "one id twice": ("a.json", json.dumps({**FEW, "images": [{"id": 1}] * 12}), "two of its images have the same id"),
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


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_a_file_with_any_byte_wrong_is_read_or_refused(tmp_path, points, ending) -> None:
    path = tmp_path / f"a.{ending}"
    np.save(path, points) if ending == "npy" else given(points, blank(12)).save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, 200, 150).tolist() + rng.integers(len(content) - 200, len(content), 150).tolist():
        path.write_bytes(content[:at] + bytes([int(rng.integers(256))]) + content[at + 1 :])
        try:
            vs_align.Keypoints.load(path)
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"vs_align.Keypoints.load: {path.name} "), error
    assert refused > 20


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
