"""``vs-align pose``: what it prints, the video it writes, and what it refuses before any work is done."""

import re
import runpy
from pathlib import Path

import av
import numpy as np
import pytest
import vapoursynth as vs
from cli_files import run, times_ms, write
from pose_scenes import RATE, performance, spoiled

import vs_align
from vs_align.cli import pose_preview
from vs_align.cli.skeleton import draw_skeleton, heat
from vs_align.poses.skeleton import MIRRORED

pytestmark = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")
TRUTH = np.concatenate([np.arange(0, 20, 0.8), np.full(6, 20), np.arange(20, 44, 1.2)])
SIDE, STRIP, CURVE = 640, 72, 120


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VS_ALIGN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two films of grey frames, and the keypoints of the people that are not in them."""
    folder = tmp_path_factory.mktemp("films")
    clip = spoiled(performance(4, np.arange(50) / RATE), np.random.default_rng(4), missing=0.02)
    ref = performance(4, TRUTH / RATE, height=150)
    made = {}
    for name, points, size in (("clip", clip, (640, 640)), ("ref", ref, (256, 256))):
        pictures = [np.full((*size, 3), 60 + n, np.uint8) for n in range(len(points))]
        made[name] = write(folder / f"{name}.mp4", pictures, rate=25, codec="libx264")
        np.save(folder / f"{name}.npy", points)
    return folder


def given(folder) -> list:
    return ["--keypoints", folder / "clip.npy", "--ref-keypoints", folder / "ref.npy"]


def pictures(path) -> list[np.ndarray]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


@pytest.fixture(scope="module")
def shown(pair, tmp_path_factory) -> list[np.ndarray]:
    """The frames of the video that it writes."""
    out = tmp_path_factory.mktemp("out") / "out.mp4"
    assert run("pose", pair / "clip.mp4", pair / "ref.mp4", out, *given(pair), "--quiet") == 0
    found = pictures(out)
    assert len(found) == len(TRUTH) and found[0].shape == (STRIP + SIDE + CURVE, 2 * SIDE + 8, 3)
    return found


def refused(capsys, says: str) -> None:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("vs-align pose: "), said.err
    assert said.err.count("\n") == 1 and len(said.err) < 400, said.err
    assert re.search(says, said.err), said.err


def test_it_reports_saves_and_shows_both_people(pair, tmp_path, capsys):
    files = ["--json", tmp_path / "a.json", "--save-keypoints", tmp_path / "k.npz"]
    assert run("pose", pair / "clip.mp4", pair / "ref.mp4", tmp_path / "out.mp4", *given(pair), *files) == 0
    out = capsys.readouterr().out
    assert re.search(r"clip\.mp4 +50 frames, a person in 100 % of them", out)
    assert re.search(r"matched +100 % of B's frames", out)
    found = vs_align.Alignment.load(tmp_path / "a.json")
    assert found.similarity == "pose" and np.median(np.abs(found.frame - TRUTH)) <= 1
    assert np.array_equal(vs_align.Keypoints.load(tmp_path / "k.npz").points, np.load(pair / "clip.npy"))
    assert times_ms(tmp_path / "out.mp4")[1] == pytest.approx(40)


def test_both_people_are_of_one_size_whatever_they_were(shown):
    heights = []
    for picture in shown[::9]:
        for column in (0, SIDE + 8):
            part = picture[STRIP : STRIP + SIDE, column : column + SIDE].astype(int)
            coloured = np.ptp(part, axis=2) > 60
            heights.append(np.ptp(np.flatnonzero(coloured.any(1))))
    left, right = np.median(heights[::2]), np.median(heights[1::2])
    # The one in clip is 2.7 times as tall in pixels.
    assert left == pytest.approx(right, rel=0.15)
    assert 0.4 * SIDE < left < 0.8 * SIDE


def test_people_of_whom_little_is_sure_and_no_size_is_known_are_shown(pair, tmp_path):
    points = np.load(pair / "clip.npy") * [1, 1, 0.3]
    points[..., 2] = np.minimum(points[..., 2], 0.18)
    np.save(tmp_path / "weak.npy", points)
    vs_align.Keypoints.load(tmp_path / "weak.npy").save(tmp_path / "weak.npz")
    files = ["--keypoints", tmp_path / "weak.npz", "--ref-keypoints", pair / "ref.npy"]
    assert run("pose", pair / "clip.mp4", pair / "ref.mp4", tmp_path / "out.mp4", *files, "--quiet") == 0
    assert len(pictures(tmp_path / "out.mp4")) == len(TRUTH)


def test_people_who_never_show_the_same_joints_are_said_to(pair, tmp_path, capsys):
    for name, arm in (("clip", [5, 7, 9]), ("ref", [6, 8, 10])):
        points = np.zeros_like(np.load(pair / f"{name}.npy"))
        points[:, arm] = np.load(pair / f"{name}.npy")[:, arm]
        np.save(tmp_path / f"{name}.npy", points)
    assert run("pose", pair / "clip.mp4", pair / "ref.mp4", tmp_path / "out.mp4", *given(tmp_path)) == 0
    assert "0 % of B's frames: at no moment do both show the same joints" in capsys.readouterr().out


def test_the_longest_text_stays_over_its_picture(pair):
    points = vs_align.Keypoints(np.load(pair / "ref.npy"), np.ones(len(TRUTH), bool), (256, 256))
    blank = vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, len(TRUTH), 25, 1)
    found = vs_align.analyse(blank, blank, similarity="pose", keypoints=points, ref_keypoints=points)
    view = pose_preview._View.of(points)
    texts = [f"{side} {joint}" for joint in ("shoulder", "elbow", "knee", "waist", "hip") for side in ("left", "right")]
    for k in range(len(texts) - 2):
        page = np.zeros((STRIP + SIDE + CURVE, 2 * SIDE + 8, 3), np.uint8)
        pose_preview._Page(found, view, view, False)._write(page, 20, 20, [(text, 108.0) for text in texts[k : k + 3]])
        assert page[:STRIP, : SIDE - 8].any() and not page[:STRIP, SIDE - 8 : SIDE + 8].any()


def test_the_cursor_goes_along_the_curve(shown):
    strips = [picture[STRIP + SIDE + 60 :].min(2).mean(0) for picture in shown]
    places = [int(strip.argmax()) for strip in strips]
    assert places[0] < 20 and places[-1] > 2 * SIDE - 20 and (np.diff(places) > 0).all()


def test_the_joints_that_differ_most_are_ringed(pair):
    clip, ref = (np.load(pair / f"{name}.npy") for name in ("clip", "ref"))
    blank = vs.core.std.BlankClip(None, 640, 640, vs.RGB24, len(ref), 25, 1)
    other = ref.copy()
    # The right forearm is turned by a quarter.
    arm = other[:, 10, :2] - other[:, 8, :2]
    other[:, 10, :2] = other[:, 8, :2] + np.stack([-arm[:, 1], arm[:, 0]], -1)
    found = vs_align.analyse(blank, blank, similarity="pose", keypoints=other, ref_keypoints=ref)
    points = [vs_align.Keypoints(each, np.ones(len(ref), bool), (640, 640)) for each in (other, ref)]
    left, right = pose_preview._View.of(points[1]), pose_preview._View.of(points[0])
    page = pose_preview._Page(found, left, right, False)
    apart, weight = pose_preview.differences(left.motion, right.motion, 20, int(found.frame[20]))
    assert int(apart.argmax()) == 3 and apart[3] > 45
    colours, marked = pose_preview._coloured(apart, weight, [3], False)
    assert marked == {8: heat(90.0)} and colours[7] == heat(float(apart[2]))
    assert pose_preview._coloured(apart, weight, [3], True)[1] == {MIRRORED[8]: heat(90.0)}
    assert len(page._shown) == len(ref) and len(clip)


def test_differences_are_green_yellow_and_red():
    assert heat(0)[1] > 200 > heat(0)[0]
    assert min(heat(27.5)[:2]) > 200
    assert heat(90)[0] > 200 > heat(90)[1]


def test_joints_that_are_not_there_are_not_drawn():
    canvas = np.zeros((200, 200, 3), np.uint8)
    points = np.zeros((17, 3))
    points[5], points[7], points[9] = (50, 50, 1), (50, 120, 1), (150, 120, 0.05)
    draw_skeleton(canvas, points, {}, {7: (255, 0, 0)})
    assert canvas[80:90, 50].any() and canvas[120, 40:60].any()
    assert not canvas[:, 80:].any()


BAD = {
    "no file": (["nowhere.mp4", "{ref}", "{out}"], "there is no file nowhere.mp4"),
    "no ending": (["{clip}", "{ref}", "{folder}/out.xyz"], "no ending of a video file"),
    "is there": (["{clip}", "{ref}", "{ref}", "--force"], "is read as well"),
    "keypoints of another": (["{clip}", "{ref}", "{out}", "--keypoints", "{folder}/ref.npy"], "51 frames, the clip 50"),
    "no keypoints": (["{clip}", "{ref}", "{out}", "--ref-keypoints", "{folder}/clip.mp4"], "clip.mp4 is refused"),
    "no network": (["{clip}", "{ref}", "{out}", "--model", "openpose"], "no network named 'openpose'"),
    "no number": (["{clip}", "{ref}", "{out}", "--tr", "0"], "whole number of at least 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_done_is_said_in_one_line(pair, tmp_path, capsys, monkeypatch, case):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setenv("VS_ALIGN_POSE_MODELS", str(tmp_path))
    arguments, says = BAD[case]
    names = {"clip": pair / "clip.mp4", "ref": pair / "ref.mp4", "out": tmp_path / "out.mp4", "folder": pair}
    if case == "no network":
        # The detector comes first.
        arguments = [*arguments, "--detector", str(pair / "clip.npy")]
    assert run("pose", *(each.format(**names) for each in arguments)) == 2
    refused(capsys, says)
    assert not (tmp_path / "out.mp4").exists()


def test_the_sample_script_plays_clip_as_ref_does(pair):
    script = Path(__file__).resolve().parents[1] / "sample_scripts" / "pose.vpy"
    files = {name: str(pair / f"{name}.mp4") for name in ("clip", "ref")}
    joints = {f"{name}_joints": str(pair / f"{name}.npy") for name in ("clip", "ref")}
    out = runpy.run_path(str(script), files | joints)["synced"]
    assert (out.width, out.height, out.num_frames) == (640, 640, len(TRUTH))
    shown = [frame.props["AlignFrame"] for frame in out.frames()]
    assert np.median(np.abs(shown - TRUTH)) <= 1
    vs.clear_outputs()
