"""The demo: its made pair's truth, how it measures, what it says of unusable files, and, slowly, the whole of it."""

import importlib.util
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "sample_scripts" / "demo.py"

pytest.importorskip("av")
vs = pytest.importorskip("vapoursynth")


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scene(demo):
    """The module that paints the pair, which the demo imports from its own folder."""
    return sys.modules[demo.paint_first.__module__]


def run_demo(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(DEMO), *arguments], capture_output=True, text=True, check=False)


def test_the_second_release_drops_and_repeats_but_keeps_the_order(scene):
    source = np.array(scene.make_clip_source())
    steps = np.diff(source)
    assert source[0] == 0
    assert source[-1] == scene.FRAMES - 1
    assert (steps >= 0).all()
    assert (steps == 0).sum() > 10
    assert (steps > 1).sum() > 8
    assert scene.make_clip_source() == source.tolist()


def test_the_second_release_stays_within_the_window(scene):
    source = scene.make_clip_source()
    offsets = [min(abs(k - n) for k in scene.right_frames(source, n)) for n in range(scene.FRAMES)]
    assert 3 < max(offsets) < 20
    assert sum(offset == 0 for offset in offsets) < scene.FRAMES / 2


def test_right_frames_show_the_picture_or_its_nearest_neighbour_in_the_shot(scene):
    shown = [0, 0, 1, 4, 5, 118, 121]
    assert scene.right_frames(shown, 0) == {0, 1}
    assert scene.right_frames(shown, 1) == {2}
    assert scene.right_frames(shown, 2) == {2}
    assert scene.right_frames(shown, 3) == {3}
    assert scene.CUTS[0] == 120
    assert scene.right_frames(shown, 119) == {5}
    assert scene.right_frames(shown, 120) == {6}
    assert scene.right_frames([2, 4], 3) == {0, 1}


def test_every_frame_of_the_first_release_has_a_right_one(scene):
    source = scene.make_clip_source()
    for n in range(scene.FRAMES):
        right = scene.right_frames(source, n)
        assert right
        assert all(scene.shot_of(source[k]) == scene.shot_of(n) for k in right)
        if n in source:
            assert {source[k] for k in right} == {n}


@pytest.mark.parametrize("shot", ["valley", "harbour", "railway"])
def test_a_shot_is_the_same_each_time_and_never_stands_still(scene, shot):
    first, again = (getattr(scene, shot)(np.random.default_rng(3)) for _ in range(2))
    frames = [first(t) for t in (0, 1, 2, 3, 70, 71)]
    assert np.array_equal(frames[1], again(1))
    for one, other in itertools.pairwise(frames):
        assert one.shape == (scene.HEIGHT, scene.WIDTH, 3)
        assert cv2.absdiff(one, other).mean() > 0.5


def test_the_second_release_looks_different(scene):
    frame = scene.valley(np.random.default_rng(3))(0)
    look = scene.second_look(frame, np.random.default_rng(1))
    assert look.shape != frame.shape
    assert cv2.absdiff(cv2.resize(look, (scene.WIDTH, scene.HEIGHT)), frame).mean() > 5


def textured(height, width, seed=1):
    rough = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    land = cv2.GaussianBlur(rough, (0, 0), 3)
    return np.clip(128 + 50 * land / land.std(), 0, 255).astype(np.uint8)


def test_the_true_flow_says_where_the_second_release_shows_each_pixel(scene):
    """Going back along it undoes the warp, which was made the other way round."""
    picture = textured(scene.HEIGHT, scene.WIDTH)
    second = scene.displaced(picture)
    assert second.shape[::-1] == scene.SECOND_SIZE
    flow = scene.true_flow()
    y, x = np.indices(picture.shape)
    at = np.float32(np.dstack([x, y]) + flow + 0.5) * np.float32(second.shape[::-1] / np.array((640, 360))) - 0.5
    back = cv2.remap(second, np.float32(at), None, cv2.INTER_CUBIC)
    inside = np.s_[14:-14, 14:-14]
    unwarped = cv2.resize(second, (scene.WIDTH, scene.HEIGHT), interpolation=cv2.INTER_CUBIC)
    assert cv2.absdiff(back, picture)[inside].mean() < 1
    assert cv2.absdiff(unwarped, picture)[inside].mean() > 20


def test_the_second_release_is_visibly_off(scene):
    lengths = np.linalg.norm(scene.true_flow(), axis=2)
    assert 3 < lengths.mean() < 6
    assert 6 < lengths.max() < 14


def still(luma, colour=(1.0, 1.0, 1.0)):
    """Return a clip of one RGB frame in memory."""
    blank = vs.core.std.BlankClip(None, luma.shape[1], luma.shape[0], vs.RGB24, 1)

    def paint(n, f):
        painted = f.copy()
        for index, gain in enumerate(colour):
            np.asarray(painted[index])[:] = np.clip(luma * gain, 0, 255)
        return painted

    return blank.std.ModifyFrame(blank, paint)


@pytest.mark.parametrize("enlarged", [1, 2])
def test_the_displacement_found_is_read_back_in_pixels_of_ref(demo, enlarged):
    """What ref shows at (x, y) is in clip at (x + 5, y - 3), also where clip is larger."""
    land = textured(200, 280)
    ref, clip = land[20:148, 30:222], land[23:151, 25:217]
    clip = cv2.resize(clip, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)
    found = demo.found_flow({"in_step": still(clip), "target": still(ref)}, 0)
    assert found.shape == (128, 192, 2)
    inside = found[8:-8, 8:-8]
    assert np.abs(inside - (5, -3)).mean() < 0.1


def test_brightness_and_contrast_are_no_difference(demo):
    luma = textured(90, 160)
    darker = np.uint8(255 * (luma / 255) ** 1.6 * 0.7 + 20)
    assert np.array_equal(demo.brightness_matched(luma, luma), luma)
    assert cv2.absdiff(darker, luma).mean() > 20
    assert cv2.absdiff(demo.brightness_matched(darker, luma), luma).mean() < 1.5


def test_what_lies_elsewhere_is_a_difference(demo):
    land = textured(100, 160)
    ref, moved, near = (cv2.cvtColor(part, cv2.COLOR_GRAY2BGR) for part in (land[:90], land[8:98], land[1:91]))
    before, in_step, in_place = (part.mean() for part in demo.Shown(ref, moved, near, ref).differences())
    assert before > 2 * in_step > 0
    assert in_place == 0


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.mkv", None, "no such file"),
        ("words.mkv", b"these are words " * 500, "not a video file"),
        ("empty.mkv", b"", "not a video file"),
    ],
)
def test_a_file_that_is_no_video_gives_one_line_and_status_2(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = run_demo("--clip", str(tmp_path / name), "--ref", str(tmp_path / name), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_sound_alone_gives_one_line_and_status_2(demo, tmp_path):
    path = tmp_path / "sound.wav"
    with demo.av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = demo.av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    done = run_demo("--clip", str(path), "--ref", str(path), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "no video in it" in done.stderr


def test_one_file_of_two_gives_status_2():
    done = run_demo("--clip", str(DEMO))
    assert done.returncode == 2
    assert "give both files" in done.stderr


@pytest.mark.slow
def test_the_whole_demo(demo, scene, tmp_path):
    done = run_demo("--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    counts = re.match(r"right: (\d+) of 288 frames before, (\d+) of 288 after \((\d+) put right\); ", line)
    before, after, put = map(int, counts.groups())
    assert before < 100
    assert after >= 280
    assert put > 180
    off, left = map(float, re.search(r"off by ([\d.]+) px before, ([\d.]+) px after; ", line).groups())
    assert off > 3
    assert left < 0.5
    told = re.search(r"difference in luma ([\d.]+) before, ([\d.]+) in step, ([\d.]+) in place; ", line)
    unlike, in_step, in_place = map(float, told.groups())
    assert unlike > in_step > 1.5 * in_place
    assert cv2.imread(str(tmp_path / "contact_sheet.png")).shape[0] > 1000
    with demo.av.open(str(tmp_path / "synced.mp4")) as video:
        frames = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
    assert len(frames) == demo.FRAMES
    check_pictures(demo, scene, frames, tmp_path)


def check_pictures(demo, scene, frames, folder):
    """The line counts frame numbers; the video must show those frames of the second release, found here by decoding.

    They are put in place here by the true warp.
    """
    y, x = np.indices((scene.HEIGHT, scene.WIDTH))
    size = np.array(scene.SECOND_SIZE)
    at = np.float32((np.dstack([x, y]) + scene.true_flow() + 0.5) * (size / (scene.WIDTH, scene.HEIGHT)) - 0.5)
    with demo.av.open(str(folder / "second_release.mp4")) as video:
        clip = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
    clip = [cv2.remap(frame, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for frame in clip]
    chosen = [p["AlignFrame"] for p in json.loads((folder / "properties.json").read_text())]
    for n in range(0, scene.FRAMES, 5):
        errors = {k: cv2.norm(frames[n], clip[k], cv2.NORM_L1) for k in range(max(0, n - 20), min(len(clip), n + 21))}
        assert min(errors, key=errors.get) == chosen[n]


@pytest.mark.slow
def test_own_files_in_awkwardly_named_places(demo, scene, tmp_path):
    folder = tmp_path / 'it\'s a "té$t" = 1,2'
    folder.mkdir()
    painter = scene.valley(np.random.default_rng(3))
    clip, ref = folder / "late.mkv", folder / "good.mkv"
    demo.encode(demo.from_bgr(painter(t) for t in range(6, 46)), clip, demo.Fraction(25), crf=20)
    demo.encode(demo.from_bgr(painter(t) for t in range(40)), ref, demo.Fraction(24000, 1001), crf=20)
    done = run_demo("--clip", str(clip), "--ref", str(ref), "--out", str(folder / "out"))
    assert done.returncode == 0, done.stderr
    assert "the same frames, played faster or slower" in done.stderr
    assert re.match(r"moved: 3\d of 40 frames \(median offset -6, ", done.stdout)
    assert (folder / "out" / "synced.mp4").stat().st_size > 0


def video_size(demo, path):
    with demo.av.open(str(path)) as video:
        return video.streams.video[0].width, video.streams.video[0].height


@pytest.mark.slow
def test_own_files_of_two_sizes_are_put_in_place(demo, scene, tmp_path):
    painter, rng = scene.valley(np.random.default_rng(3)), np.random.default_rng(4)
    clip, ref = tmp_path / "late.mkv", tmp_path / "good.mkv"
    demo.encode(demo.from_bgr(scene.second_look(painter(t), rng) for t in range(30)), clip, demo.Fraction(24), crf=20)
    demo.encode(demo.from_bgr(painter(t) for t in range(30)), ref, demo.Fraction(24), crf=20)
    done = run_demo("--clip", str(clip), "--ref", str(ref), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    shift = float(re.search(r"warped: 30 of 30 pictures by ([\d.]+) px", done.stdout)[1])
    assert shift == pytest.approx(np.linalg.norm(scene.true_flow(), axis=2).mean(), rel=0.25)
    before, in_place = map(float, re.search(r"luma ([\d.]+) before, .* ([\d.]+) in place", done.stdout).groups())
    assert in_place < 0.7 * before
    assert video_size(demo, tmp_path / "out" / "synced.mp4") == (scene.WIDTH, scene.HEIGHT)


@pytest.mark.slow
def test_own_files_of_two_films_are_left_as_they_are(demo, scene, tmp_path):
    painter, other = scene.valley(np.random.default_rng(3)), scene.harbour(np.random.default_rng(3))
    clip, ref = tmp_path / "other.mkv", tmp_path / "good.mkv"
    small = (cv2.resize(other(t), (426, 242)) for t in range(20))
    frames = (demo.av.VideoFrame.from_ndarray(frame, format="bgr24").reformat(format="yuv420p") for frame in small)
    demo.encode(frames, clip, demo.Fraction(24), crf=20)
    demo.encode(demo.from_bgr(painter(t) for t in range(20)), ref, demo.Fraction(24), crf=20)
    done = run_demo("--clip", str(clip), "--ref", str(ref), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "20 pictures have too little in common with ref's" in done.stderr
    assert "warped: 0 of 20 pictures, 0 were in place" in done.stdout
    assert video_size(demo, tmp_path / "out" / "synced.mp4") == (scene.WIDTH, scene.HEIGHT)
