"""The networks themselves, on real footage; and files that are none."""

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from helpers import FOOTAGE, needs_footage, one_line

import vs_align
from vs_align.analysis.pose_nets import DETECTORS, POSE_NETS, cut_out

pytest.importorskip("onnxruntime")
pytest.importorskip("ai_edge_litert")
WEIGHTS = FOOTAGE / "weights"
CLIPS = {
    "dog": "real/sam2_01_dog.mp4",
    "juggling": "real/sam2_05_default_juggle.mp4",
    "chaplin": "real/moviepy_chaplin.mp4",
    "camera 1": "pose/pose2sim_Demo_SinglePerson_cam01.mp4",
    "camera 2": "pose/pose2sim_Demo_SinglePerson_cam02.mp4",
    "arms": "pose/tfjs_pose_1.mp4",
    "squats": "pose/tfjs_pose_squats.mp4",
}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    for name in ("VS_ALIGN_YOLOX", "VS_ALIGN_MOVENET", "VS_ALIGN_BLAZEPOSE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VS_ALIGN_POSE_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    if not WEIGHTS.is_dir():
        pytest.skip("the networks' files are not here")
    monkeypatch.setenv("VS_ALIGN_POSE_MODELS", str(WEIGHTS))


def blank(count: int = 4) -> vs.VideoNode:
    return vs.core.std.BlankClip(None, 64, 48, vs.RGB24, count, 25, 1)


def opened(name: str) -> vs.VideoNode:
    if not hasattr(vs.core, "bs") or not (FOOTAGE / CLIPS[name]).is_file():
        pytest.skip(f"no footage: {name}")
    return vs.core.bs.VideoSource(str(FOOTAGE / CLIPS[name]), cachemode=0)


def test_a_folder_without_the_file_is_said_in_one_line(folder: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        vs_align.pose(blank())
    one_line("vs_align.pose", error, r"there is no yolox_nano.onnx in .*VS_ALIGN_POSE_MODELS")


def test_a_file_with_another_hash_is_refused_in_one_line(folder: Path) -> None:
    for model in (*DETECTORS.values(), *POSE_NETS.values()):
        (folder / model.filename).write_bytes(b"something else")
    for call in (vs_align.pose, lambda clip: vs_align.temporal(clip, clip, similarity="pose")):
        with pytest.raises(RuntimeError, match=r"yolox_nano.onnx has the wrong hash \(SHA-256") as error:
            call(blank())
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("ending", ["onnx", "tflite"])
@pytest.mark.parametrize("argument", ["detector", "model"])
@needs_footage
def test_a_file_that_is_no_network_is_refused_in_one_line(real: None, tmp_path, ending: str, argument: str) -> None:
    path = tmp_path / f"net.{ending}"
    path.write_bytes(b"no network at all" * 100)
    with pytest.raises(RuntimeError) as error:
        vs_align.pose(blank(), **{argument: path})
    one_line("vs_align.pose", error, rf"net.{ending} is no network that can be loaded")


@needs_footage
def test_a_network_of_another_kind_and_a_name_that_none_has_are_refused(real: None) -> None:
    for options, says in (
        ({"detector": WEIGHTS / "xfeat_320x224.onnx"}, "xfeat_320x224.onnx is no detector of people that is known"),
        ({"model": WEIGHTS / "yolox_nano.onnx"}, "yolox_nano.onnx is no network of joints that is known"),
        ({"model": "openpose"}, "there is no network named 'openpose': name movenet or blazepose"),
    ):
        with pytest.raises(RuntimeError) as error:
            vs_align.pose(blank(), **options)
        one_line("vs_align.pose", error, says)


@pytest.mark.parametrize("missing", ["onnxruntime", "ai_edge_litert"])
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    for call in (vs_align.pose, lambda clip: vs_align.analyse(clip, clip, similarity="pose")):
        with pytest.raises(RuntimeError, match=rf'needs {missing}; install with: pip install "vs_align\[pose\]"'):
            call(blank())


@needs_footage
def test_nobody_in_a_grey_picture(real: None) -> None:
    with pytest.raises(ValueError) as error:
        vs_align.pose(blank(20))
    one_line("vs_align.pose", error, "nobody is seen in any frame of clip")


def test_the_cut_square_is_the_picture_in_it() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert np.array_equal(cut_out(picture, 10, 5, 24, 24), picture[5:29, 10:34])
    outside = cut_out(picture, -8, 5, 24, 24)
    assert (outside[:, :8] == 0).all() and np.array_equal(outside[:, 8:], picture[5:29, :16])


@needs_footage
@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_a_person_is_in_nine_of_ten_frames_of_every_clip(real: None, name: str, caplog) -> None:
    clip = opened(name)
    with caplog.at_level(logging.WARNING, "vs_align"):
        found = vs_align.pose(clip)
    assert len(found) == clip.num_frames
    assert found.seen.mean() >= 0.9
    assert len(caplog.records) <= 1
    # Heads above hips above feet, in nearly all frames of people who stand.
    middle = found.points[found.seen][:, [[5, 6], [11, 12], [15, 16]], 1].mean(-1)
    assert (np.diff(middle, axis=1) > 0).all(1).mean() > 0.95


@needs_footage
def test_the_two_networks_of_joints_agree(real: None) -> None:
    clip = opened("squats")[:6]
    one, other = vs_align.pose(clip), vs_align.pose(clip, model="blazepose")
    # Shoulders, elbows, hips, knees and ankles, within a twelfth of how tall she is in the picture.
    joints = [5, 6, 7, 8, 11, 12, 13, 14, 15, 16]
    apart = np.linalg.norm((one.points - other.points)[:, joints, :2], axis=-1)
    tall = np.ptp(one.points[0, :, 1])
    assert np.median(apart) < tall / 24 and np.quantile(apart, 0.9) < tall / 8
