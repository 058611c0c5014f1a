"""The demo: its made pair's truth, what it says of files that it cannot use, and, slowly, the whole of it."""

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

for package in ("av", "vapoursynth"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_demo(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(DEMO), *arguments], capture_output=True, text=True, check=False)


def test_the_second_release_drops_and_repeats_but_keeps_the_order(demo):
    source = np.array(demo.make_clip_source())
    steps = np.diff(source)
    assert source[0] == 0
    assert source[-1] == demo.FRAMES - 1
    assert (steps >= 0).all()
    assert (steps == 0).sum() > 10
    assert (steps > 1).sum() > 8
    assert demo.make_clip_source() == source.tolist()


def test_the_second_release_stays_within_the_window(demo):
    source = demo.make_clip_source()
    offsets = [min(abs(k - n) for k in demo.right_frames(source, n)) for n in range(demo.FRAMES)]
    assert 3 < max(offsets) < 20
    assert sum(offset == 0 for offset in offsets) < demo.FRAMES / 2


def test_right_frames_show_the_picture_or_its_nearest_neighbour_in_the_shot(demo):
    shown = [0, 0, 1, 4, 5, 118, 121]
    assert demo.right_frames(shown, 0) == {0, 1}
    assert demo.right_frames(shown, 1) == {2}
    assert demo.right_frames(shown, 2) == {2}
    assert demo.right_frames(shown, 3) == {3}
    assert demo.CUTS[0] == 120
    assert demo.right_frames(shown, 119) == {5}
    assert demo.right_frames(shown, 120) == {6}
    assert demo.right_frames([2, 4], 3) == {0, 1}


def test_every_frame_of_the_first_release_has_a_right_one(demo):
    source = demo.make_clip_source()
    for n in range(demo.FRAMES):
        right = demo.right_frames(source, n)
        assert right
        assert all(demo.shot_of(source[k]) == demo.shot_of(n) for k in right)
        if n in source:
            assert {source[k] for k in right} == {n}


@pytest.mark.parametrize("shot", ["valley", "harbour", "railway"])
def test_a_shot_is_the_same_each_time_and_never_stands_still(demo, shot):
    first, again = (getattr(demo, shot)(np.random.default_rng(3)) for _ in range(2))
    frames = [first(t) for t in (0, 1, 2, 3, 70, 71)]
    assert np.array_equal(frames[1], again(1))
    for one, other in itertools.pairwise(frames):
        assert one.shape == (demo.HEIGHT, demo.WIDTH, 3)
        assert cv2.absdiff(one, other).mean() > 0.5


def test_the_second_release_looks_different(demo):
    frame = demo.valley(np.random.default_rng(3))(0)
    look = demo.second_look(frame, np.random.default_rng(1))
    assert look.shape != frame.shape
    assert cv2.absdiff(cv2.resize(look, (demo.WIDTH, demo.HEIGHT)), frame).mean() > 5


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
def test_the_whole_demo(demo, tmp_path):
    done = run_demo("--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    counts = re.match(r"right: (\d+) of 288 frames before, (\d+) of 288 after \((\d+) put right\); ", line)
    before, after, put = map(int, counts.groups())
    assert before < 100
    assert after >= 280
    assert put > 180
    assert cv2.imread(str(tmp_path / "contact_sheet.png")).shape[0] > 1000
    with demo.av.open(str(tmp_path / "synced.mp4")) as video:
        frames = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
    assert len(frames) == demo.FRAMES
    check_pictures(demo, frames, tmp_path)


def check_pictures(demo, frames, folder):
    """The line counts frame numbers; the video must show those frames of the second release, found here by decoding."""
    with demo.av.open(str(folder / "second_release.mp4")) as video:
        clip = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
    chosen = [p["AlignFrame"] for p in json.loads((folder / "properties.json").read_text())]
    for n in range(0, demo.FRAMES, 5):
        errors = {k: cv2.norm(frames[n], clip[k], cv2.NORM_L1) for k in range(max(0, n - 20), min(len(clip), n + 21))}
        assert min(errors, key=errors.get) == chosen[n]


@pytest.mark.slow
def test_own_files_in_awkwardly_named_places(demo, tmp_path):
    folder = tmp_path / "it's a \"té$t\" = 1,2"
    folder.mkdir()
    painter = demo.valley(np.random.default_rng(3))
    clip, ref = folder / "late.mkv", folder / "good.mkv"
    demo.encode(demo.from_bgr(painter(t) for t in range(6, 46)), clip, demo.Fraction(25), crf=20)
    demo.encode(demo.from_bgr(painter(t) for t in range(40)), ref, demo.Fraction(24000, 1001), crf=20)
    done = run_demo("--clip", str(clip), "--ref", str(ref), "--out", str(folder / "out"))
    assert done.returncode == 0, done.stderr
    assert "the same frames, played faster or slower" in done.stderr
    assert re.match(r"moved: 3\d of 40 frames \(median offset -6, ", done.stdout)
    assert (folder / "out" / "synced.mp4").stat().st_size > 0
