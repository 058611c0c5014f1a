"""Two people in step: how often a person is found, how far frames are off, and how fast it is.

    python benchmarks/pose.py [--footage ../shared/footage] [--only made sides clips warped cameras speed]

``made``: skeletons with known time warps (rests, speeds of 0.6 to 1.6, another body, noise of 3 % of the body's height,
10 % of joints missing, a larger second person who walks through). ``sides``: the same without the walker, in space and
seen from some degrees apart, noise of 1.5 %. ``clips``: frames with a person. ``warped``: films
beside copies of themselves with changing speed, cropped by 12 to 27 % in width and 5 % in height; errors in clip
frames, DTW beside pad and stretch. ``cameras``: two cameras on one scene, whose offset is presumed to be 0. ``speed``:
`vs_align.pose` of a file, cold and from the cache, with the CPU seconds that a frame takes. The networks' files are
looked for in FOOTAGE/weights.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

import vs_align
from vs_align.analysis import coco
from vs_align.matching.baselines import pad, stretch

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import pose_scenes  # the tests' made people

type Frames = NDArray[np.int64]

CLIPS = {
    "dog": "real/sam2_01_dog.mp4",
    "juggling": "real/sam2_05_default_juggle.mp4",
    "chaplin": "real/moviepy_chaplin.mp4",
    "camera 1": "pose/pose2sim_Demo_SinglePerson_cam01.mp4",
    "camera 2": "pose/pose2sim_Demo_SinglePerson_cam02.mp4",
    "arms": "pose/tfjs_pose_1.mp4",
    "squats": "pose/tfjs_pose_squats.mp4",
}
PAIRS = 20


def opened(footage: Path, name: str) -> vs.VideoNode:
    return vs.core.bs.VideoSource(str(footage / CLIPS[name]), cachemode=0)


def summary(errors: NDArray[np.floating]) -> str:
    return f"median {np.median(errors):5.2f}   95 % {np.quantile(errors, 0.95):5.2f}   worst {errors.max():5.1f}"


def made(_: Path) -> Iterator[str]:
    """Made pairs, by `analyse` with keypoints given."""
    every, worst = [], 0.0
    for seed in range(PAIRS):
        pair = pose_scenes.pair(seed)
        clip, ref = (
            coco.one_person(coco.parsed(pose_scenes.passed_by(each, seed), None).people, 1 / pose_scenes.RATE)
            for each in (pair.clip, pair.ref)
        )
        films = [vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, len(each), 25, 1, keep=True) for each in (clip, ref)]
        found = vs_align.analyse(*films, similarity="pose", keypoints=clip, ref_keypoints=ref)
        every.append(np.abs(found.frame - pair.truth))
        worst = max(worst, float(np.quantile(every[-1], 0.95)))
    yield f"{PAIRS} made pairs          {summary(np.concatenate(every))}   worst pair's 95 % {worst:.2f}"


def sides(_: Path) -> Iterator[str]:
    """Made pairs seen from two sides, by `analyse` with keypoints given."""
    for degrees in (0, 20, 40, 60):
        every = []
        for seed in range(PAIRS):
            pair = pose_scenes.sides(seed, degrees)
            clip, ref = pair.clip, pair.ref
            films = [vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, len(k), 25, 1, keep=True) for k in (clip, ref)]
            found = vs_align.analyse(*films, similarity="pose", keypoints=clip, ref_keypoints=ref)
            every.append(np.abs(found.frame - pair.truth))
        yield f"{degrees} degrees apart      {summary(np.concatenate(every))}"


def clips(footage: Path) -> Iterator[str]:
    """How many frames have a person."""
    for name in CLIPS:
        clip = opened(footage, name)
        found = vs_align.pose(clip)
        sure = np.median(found.points[found.seen][:, 5:, 2])
        yield (
            f"{name:<12} {clip.width}x{clip.height}  {len(found)} of {clip.num_frames} frames, a person in "
            f"{100 * found.seen.mean():5.1f} %, joints {sure:.2f} sure"
        )


def speeds(seed: int, length: int) -> Frames:
    """Frames of a film that is played at 0.5 to 1.7 times its speed, changing all the time."""
    speed = np.random.default_rng(seed).uniform(0.5, 1.7, 7)
    at = [0.0]
    while at[-1] < length - 1:
        at.append(at[-1] + float(np.interp(at[-1] / length * 6, np.arange(7), speed)))
    return np.clip(np.rint(at), 0, length - 1).astype(np.int64)


def warped(footage: Path) -> Iterator[str]:
    """Films beside copies of themselves."""
    for name, seed, share in (("squats", 3, 0.08), ("squats", 4, 0.08), ("juggling", 3, 0.15), ("juggling", 4, 0.15)):
        clip = opened(footage, name)
        truth = speeds(seed, clip.num_frames)
        left, top = int(clip.width * share) // 4 * 4, int(clip.height * 0.05) // 4 * 4
        copy = vs.core.std.Splice([clip[int(m)] for m in truth]).std.Crop(left=left, right=left // 4 * 2, top=top)
        keypoints, ref_keypoints = vs_align.pose(clip), vs_align.pose(copy)
        given = {"similarity": "pose", "keypoints": keypoints, "ref_keypoints": ref_keypoints}
        ways = {
            "pad": pad(len(truth), len(keypoints)),
            "stretch": stretch(len(truth), len(keypoints)),
            "match, tr=40": shown(vs_align.temporal(clip, copy, tr=40, **given)),
            "dtw, tr=None": shown(vs_align.temporal(clip, copy, mode="dtw", tr=None, **given)),
            "analyse": vs_align.analyse(clip, copy, **given).frame,
        }
        for way, frames in ways.items():
            yield f"{name:<9} speed {seed}  {len(truth)} frames  {way:<13} {summary(np.abs(frames - truth))}"


def shown(clip: vs.VideoNode) -> Frames:
    return np.array([frame.props["AlignFrame"] for frame in clip.frames()])


def cameras(footage: Path) -> Iterator[str]:
    """Two cameras on one man, 60 frames per second."""
    clips = [opened(footage, name) for name in ("camera 2", "camera 1")]
    points = [vs_align.pose(clip) for clip in clips]
    other = [vs_align.pose(clip, model="blazepose") for clip in clips]
    for model, each in (("movenet", points), ("blazepose", other)):
        found = vs_align.analyse(*clips, similarity="pose", keypoints=each[0], ref_keypoints=each[1])
        error = found.frame - np.arange(len(found.frame))
        yield f"cameras, {model:<10} analyse      {summary(np.abs(error))}   signed median {np.median(error):+.1f}"
        given = {"keypoints": each[0], "ref_keypoints": each[1]}
        fixed = vs_align.temporal(*clips, similarity="pose", mode="offset", tr=30, **given)
        yield f"cameras, {model:<10} one offset   {fixed.get_frame(50).props['AlignOffset']:+d} frames"


def speed(footage: Path) -> Iterator[str]:
    """Reading a file, cold and again."""
    for name in ("dog", "juggling", "camera 1"):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["VS_ALIGN_CACHE"] = folder
            for how in ("cold", "cached"):
                began, cpu = time.monotonic(), sum(os.times()[:2])
                found = vs_align.pose(footage / CLIPS[name])
                took, used = time.monotonic() - began, sum(os.times()[:2]) - cpu
                rate, each = len(found) / took, 1000 * used / len(found)
                yield f"{name:<12} {how:<7} {rate:7.1f} frames/s   {each:6.1f} ms of CPU each, {os.cpu_count()} cores"
            del os.environ["VS_ALIGN_CACHE"]


PARTS = {"made": made, "sides": sides, "clips": clips, "warped": warped, "cameras": cameras, "speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[2] / "shared" / "footage"
    parser.add_argument("--footage", type=Path, default=default)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    os.environ.setdefault("VS_ALIGN_POSE_MODELS", str(options.footage / "weights"))
    for part in options.only:
        for line in PARTS[part](options.footage):
            print(line, flush=True)


if __name__ == "__main__":
    main()
