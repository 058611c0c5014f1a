"""Keypoints read out of clips: how people are found, cut out and put back, with networks that need no file."""

import logging
import time

import numpy as np
import pytest
import vapoursynth as vs
from helpers import Requests, one_line, values
from pose_nets import Detector, Joints, nets, painted
from pose_scenes import RATE, pair, performance

import vs_align
from vs_align.analysis import pose_reading
from vs_align.filters import analyse_pose, pose_rows
from vs_align.filters import pose as pose_filter

BODY = slice(5, 17)
SIZE = (640, 480)


@pytest.fixture(autouse=True)
def made_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loaded(pose_reading.Nets):
        @classmethod
        def of(cls, *_: object) -> pose_reading.Nets:
            return nets()

    for module in (pose_filter, pose_rows, analyse_pose):
        monkeypatch.setattr(module, "Nets", Loaded)


def person(length: int = 40, seed: int = 3, height: float = 300.0) -> np.ndarray:
    return moved(performance(seed, np.arange(length) / RATE, height=height), 0, -60)


def moved(points: np.ndarray, across: float, down: float) -> np.ndarray:
    return np.add(points, [across, down, 0])


@pytest.mark.parametrize("height", [90, 300, 380])
def test_joints_are_where_they_were_painted_whatever_the_size(height: float) -> None:
    points = person(height=height)
    points[..., :2] += [0, 0.5 * (300 - height)]
    found = vs_align.pose(painted(points, SIZE))
    assert len(found) == 40 and found.seen.all() and found.size == SIZE
    apart = np.linalg.norm((found.points - points)[:, BODY, :2], axis=-1)
    told = found.points[:, BODY, 2] > 0
    assert told.mean() > 0.8
    # A pixel of the square, two where it is larger than what the network sees.
    assert np.median(apart[told]) < 2 and np.quantile(apart[told], 0.9) < 6


def test_every_frame_has_keypoints_and_those_without_a_person_are_marked() -> None:
    points = person(60)
    points[20:32] = 0
    found = vs_align.pose(painted(points, SIZE))
    assert len(found) == 60
    assert not found.seen[21:31].any() and found.seen[:20].all() and found.seen[32:].all()
    around = (points[19, 11, 0], points[32, 11, 0])
    assert min(around) - 6 <= found.points[26, 11, 0] <= max(around) + 6
    assert 0 < found.points[26, 11, 2] <= 0.5


def test_more_than_one_person_is_said_once_and_the_largest_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    points, other = person(50, height=330), moved(person(50, seed=9, height=180), 330, 100)
    with caplog.at_level(logging.WARNING, "vs_align"):
        found = vs_align.pose(painted(points, (900, 480), other))
    said = [record.getMessage() for record in caplog.records]
    assert said == ["pose: clip shows more than one person; the largest is followed."]
    assert np.median(np.abs(found.points[:, 11, 0] - points[:, 11, 0])) < 3


def test_nobody_is_an_error_of_one_line() -> None:
    empty = vs.core.std.BlankClip(None, 64, 48, vs.RGB24, 20, 25, 1)
    for call in (lambda: vs_align.pose(empty), lambda: vs_align.analyse(empty, empty, similarity="pose")):
        with pytest.raises(ValueError, match="nobody is seen in any frame of clip") as error:
            call()
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(vs.Error) as error:
        vs_align.temporal(empty, empty, similarity="pose").get_frame(3)
    # VapourSynth puts where it happened before it.
    last = str(error.value).strip().splitlines()[-1]
    assert last.startswith("ValueError: vs_align.temporal: nobody is seen in any frame of ")
    assert "another exception" not in str(error.value)


def test_that_nobody_is_there_is_found_out_once() -> None:
    empty = Requests(vs.core.std.BlankClip(None, 64, 48, vs.RGB24, 20, 25, 1))
    person_film = painted(person(20), SIZE)
    out = vs_align.temporal(empty.clip, person_film, similarity="pose", tr=3)
    for n in range(6):
        with pytest.raises(vs.Error, match="nobody is seen in any frame of clip"):
            out.get_frame(n)
    assert max(empty.count.values()) <= 2


def test_the_debug_page_and_a_clip_to_pick_from() -> None:
    points = person(20)
    clip = painted(points, SIZE)
    out = vs_align.temporal(
        clip, clip, clip.std.Invert(), similarity="pose", tr=4, keypoints=points, ref_keypoints=points, debug=True
    )
    assert values(out) == list(range(20))


def test_pixels_that_are_not_square_are_taken_as_they_are_seen() -> None:
    points = person()
    narrow = painted(points, SIZE).resize.Bilinear(480, 480).std.SetFrameProps(_SARNum=4, _SARDen=3)
    found = vs_align.pose(narrow)
    assert found.pixel_shape == pytest.approx(4 / 3)
    told = found.points[:, BODY, 2] > 0
    apart = np.linalg.norm((found.points * [4 / 3, 1, 1] - points)[:, BODY, :2], axis=-1)
    assert np.median(apart[told]) < 3


@pytest.mark.parametrize("format", [vs.GRAY8, vs.YUV420P10, vs.RGBS, vs.YUV444PH, vs.GRAYH], ids=str)
def test_any_format_is_read(format: int) -> None:
    matrix = {"matrix": 1} if vs.core.get_video_format(format).color_family != vs.RGB else {}
    clip = painted(person(8), SIZE).resize.Point(format=format, **matrix)
    assert vs_align.pose(clip).seen.all()


def test_temporal_reads_when_the_first_frame_is_asked_for_and_both_clips_once() -> None:
    truth = np.concatenate([np.arange(0, 30, 0.75), np.full(8, 30), np.arange(30, 55, 1.3)])
    clip_points, ref_points = person(60), moved(performance(3, truth / RATE, height=200), 200, 60)
    clip, ref = Requests(painted(clip_points, SIZE)), Requests(painted(ref_points, (700, 400)))
    out = vs_align.temporal(clip.clip, ref.clip, similarity="pose", mode="dtw", tr=None)
    assert clip.taken() == ref.taken() == set()
    last = dict(out.get_frame(len(truth) - 1).props)["AlignFrame"]
    assert clip.taken() == set(range(60)) and ref.taken() == set(range(len(truth)))
    frames = np.array(values(out))
    assert frames[-1] == last
    assert np.median(np.abs(frames - truth)) <= 1
    # What is picked is read again, but nobody is looked for in it.
    found = vs_align.analyse(clip.clip, ref.clip, similarity="pose").frame
    assert np.array_equal(found, frames)


def test_many_frames_at_once_are_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    seen = Detector.people
    monkeypatch.setattr(Detector, "people", lambda self, picture: (looks.append(1), seen(self, picture))[1])
    clip = painted(person(30), SIZE)
    out = vs_align.temporal(clip, clip, similarity="pose", tr=5)
    futures = [out.get_frame_async(n) for n in reversed(range(30))]
    assert [future.result().props["AlignFrame"] for future in futures] == list(reversed(range(30)))
    # Every fourth frame and the last, of both clips.
    assert len(looks) == 2 * len({*range(0, 30, 4), 29})


def test_two_clips_read_at_once_never_use_one_network_twice_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found, busy, twice = Joints.joints, set(), []

    def joints(self: Joints, picture: np.ndarray) -> np.ndarray:
        twice.extend({id(self)} & busy)
        busy.add(id(self))
        # Long enough for the other clip's threads to come.
        time.sleep(0.002)
        busy.discard(id(self))
        return found(self, picture)

    monkeypatch.setattr(Joints, "joints", joints)
    clip, ref = painted(person(60), SIZE), painted(person(60, seed=4), SIZE)
    vs_align.temporal(clip, ref, similarity="pose", mode="dtw", tr=None).get_frame(0)
    assert not twice


def test_results_of_a_file_are_kept_and_taken_from_there(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VS_ALIGN_CACHE", str(tmp_path))
    file = tmp_path / "film.bin"
    file.write_bytes(b"film" * 50_000)
    made = vs_align.pose(painted(person(8), SIZE))
    calls = []

    def kept(key: str = "nets") -> vs_align.Keypoints:
        return pose_reading.kept_keypoints(file, key, lambda: (calls.append(key), made)[1])

    assert np.array_equal(kept().points, kept().points) and len(calls) == 1
    kept("other nets")
    assert len(calls) == 2
    file.write_bytes(b"Film" + b"film" * 49_999)
    kept()
    assert len(calls) == 3
    for each in (tmp_path / "poses").iterdir():
        each.write_bytes(each.read_bytes()[:300])
    kept()
    assert len(calls) == 4


BAD = {
    "no clip": ((3,), {}, TypeError, "clip must be a VapourSynth video clip, not int"),
    "no file": (("nowhere.mp4",), {}, ValueError, "there is no file nowhere.mp4"),
    "detector": ((None,), {"detector": 3}, TypeError, "detector must be a name or the path of a file, not int"),
    "model": ((None,), {"model": None}, TypeError, "model must be a name or the path of a file, not NoneType"),
    "cache": ((None,), {"cache": "yes"}, TypeError, "cache must be True or False"),
    "progress": ((None,), {"progress": 3}, TypeError, "progress must be a function"),
}


@pytest.mark.parametrize("case", BAD)
def test_arguments_that_are_no_use_are_refused_in_one_line(case: str) -> None:
    given, options, kind, says = BAD[case]
    with pytest.raises(kind) as error:
        vs_align.pose(*given, **options)
    one_line("vs_align.pose", error, says)


def test_clips_of_other_sizes_need_pose() -> None:
    small, made = vs.core.std.BlankClip(None, 32, 24, vs.GRAY8, 20), pair(1, 20)
    large = vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, len(made.clip))
    vs_align.temporal(large, small, similarity="pose", keypoints=made.clip, ref_keypoints=made.ref)
    with pytest.raises(ValueError, match="must have the same size"):
        vs_align.temporal(large, small, similarity="structure")
