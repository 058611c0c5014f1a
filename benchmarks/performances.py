"""Two performances of one thing, or of two: whole-clip dynamic time warping beside pad and stretch.

    python benchmarks/performances.py [--footage ../shared/footage] [--montage FOLDER] [--pairs squats cameras]

The pairs: one squat and the next of the same person; a film against a copy of itself whose speed changes all the time,
cropped by 5 % and through x264; one person against another; two cameras that look at one scene, as recorded, begun 12
frames late, and with changing speed. What is known of each pair is what errors are counted by: the film frame that a
copy shows, the time at which each camera took each frame, how low the person's shirt is. Errors are means over ref's
frames, in frames of ref (for the squats in percent of the shirt's way down). The first four ways give each ref frame a
clip frame; the last two are paths of `vs_align.matching.dtw`, from small pictures or from how alike each frame is to
its neighbours in its own clip, which hardly depends on where the camera stands. For each path `vs_align.analysis.play`
is read to its end and must show every frame of both clips, in order, in at most as many steps as both have frames
together, less one.
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray
from temporal_accuracy import cropped
from temporal_speed import Pictures, in_memory, luma, read

import vs_align
from vs_align.analysis import play
from vs_align.matching import paths
from vs_align.matching.dtw import dtw_features
from vs_align.similarity.structure import structure_picture

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]
type Errors = Callable[[Frames, Frames], Floats]
type Features = Callable[[Pictures], Floats]

SQUATS = "pose/tfjs_pose_squats.mp4", 180, 320, 65
RAISING = "pose/tfjs_pose_1.mp4", 320, 320, 120
JUGGLING = "real/sam2_05_default_juggle.mp4", 320, 180, 247
CAMERA = "multicam/caliscope_charuco_cam_{}.mp4", 320, 180, 111
TIMES = "multicam/caliscope_charuco_timestamps.csv"
TREADMILL = "pose/pose2sim_Demo_SinglePerson_cam0{}.mp4", 180, 320, 100
# The first frame of the second squat and of the third.
SECOND, THIRD = 22, 45
LATE = 12
SMALL_AREA, REACH = 40 * 22, 10
MONTAGE_COLUMNS, MONTAGE_HEIGHT = 10, 120


@dataclass(frozen=True)
class Pair:
    """Two performances.

    Attributes:
        name: what they are.
        ref, clip: their frames in colour, of one size.
        errors: how far apart pairs of a ref frame and a clip frame are; None: nobody knows.
        unit: what that is counted in.
        copy: clip's pictures are ref's, cropped, so that there is a geometry to be found.
    """

    name: str
    ref: Pictures
    clip: Pictures
    errors: Errors | None = None
    unit: str = "frames"
    copy: bool = False


def warped(length: int) -> Frames:
    """Return which frame of a film of so many each frame of its copy shows: 0.5 to 1.5 times as fast by turns."""
    t = np.linspace(0, 1, round(1.2 * length))
    way = t + 0.5 / (4 * np.pi) * np.sin(4 * np.pi * t)
    return np.round(way * (length - 1)).astype(np.int64)


def of_film(shown: Frames) -> Errors:
    """Count from the frame of the film that each frame of clip shows."""
    return lambda n, m: np.abs(shown[m] - n).astype(np.float64)


def shirt(pictures: Pictures) -> Floats:
    """Return how low the middle of a pink shirt is, in rows of 320."""
    rows = []
    for picture in pictures:
        hue, saturation, value = cv2.split(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV))
        pink = (saturation > 150) & (value > 120) & ((hue > 160) | (hue < 5))
        rows.append(np.median(np.nonzero(pink)[0]))
    return np.array(rows)


def squats(footage: Path) -> Iterator[Pair]:
    film = read(footage / SQUATS[0], *SQUATS[1:])
    low = shirt(film)
    way = np.ptp(low)
    for name, first, second in (("first", 0, SECOND), ("third", THIRD, SECOND)):
        stop = SECOND if name == "first" else len(film)
        yield Pair(
            f"squats: {name} beside second",
            film[first:stop],
            film[SECOND:THIRD],
            lambda n, m, first=first, second=second: 100 * np.abs(low[first + n] - low[second + m]) / way,
            "% of the way",
        )


def copies(footage: Path) -> Iterator[Pair]:
    for name, where in (("squats", SQUATS), ("raising arms", RAISING), ("juggling", JUGGLING)):
        film = read(footage / where[0], *where[1:])
        shown, worse = warped(len(film)), cropped(film)
        yield Pair(f"{name}: warped copy", film, [worse[n] for n in shown], of_film(shown), copy=True)


def persons(footage: Path) -> Iterator[Pair]:
    one = read(footage / SQUATS[0], *SQUATS[1:])
    other = read(footage / RAISING[0], *RAISING[1:])
    yield Pair("squats beside raising arms", one, [cv2.resize(picture, SQUATS[1:3]) for picture in other])


def cameras(footage: Path) -> Iterator[Pair]:
    with (footage / TIMES).open(encoding="utf-8", newline="") as file:
        rows = [(int(row["cam_id"]), float(row["frame_time"])) for row in csv.DictReader(file)]
    scenes = [
        (read(footage / CAMERA[0].format(k), *CAMERA[1:]), np.sort([time for camera, time in rows if camera == k]))
        for k in range(3)
    ]
    for a, b in combinations(range(3), 2):
        yield from _seen_twice(f"cameras {a} and {b}", scenes[a], scenes[b])
    moving = [read(footage / TREADMILL[0].format(k), *TREADMILL[1:]) for k in (1, 2)]
    yield from _seen_twice("treadmill", *((pictures, np.arange(len(pictures)) / 60) for pictures in moving))


def _seen_twice(name: str, first: tuple[Pictures, Floats], second: tuple[Pictures, Floats]) -> Iterator[Pair]:
    (ref, ref_times), (clip, clip_times) = first, second
    period = float(np.diff(ref_times).mean())
    every = np.arange(len(clip))
    for how, shown in (("as recorded", every), ("late", every[LATE:]), ("warped", warped(len(clip)))):

        def errors(n: Frames, m: Frames, shown: Frames = shown) -> Floats:
            return np.abs(clip_times[shown[m]] - ref_times[n]) / period

        yield Pair(f"{name}: {how}", ref, [clip[k] for k in shown], errors)


GROUPS = {"squats": squats, "copies": copies, "persons": persons, "cameras": cameras}


# ---------------------------------------------------------------- ways


def small(pictures: Pictures) -> Iterator[NDArray[np.float32]]:
    """Yield lumas of some hundred pixels."""
    height, width = pictures[0].shape[:2]
    shrink = (width * height / SMALL_AREA) ** 0.5
    size = round(width / shrink), round(height / shrink)
    for picture in luma(pictures):
        yield cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def looks(pictures: Pictures) -> Floats:
    """What is where in the picture."""
    return np.array([structure_picture(picture).ravel() for picture in small(pictures)], np.float64)


def self_similarity(pictures: Pictures) -> Floats:
    """How far each frame is from its neighbours in its own clip, by how many frames they are apart.

    Source: Junejo et al., "Cross-View Action Recognition from Temporal Self-Similarities", 2008.
    """
    lumas = np.array([cv2.GaussianBlur(picture, (0, 0), 1).ravel() for picture in small(pictures)])
    n = np.arange(len(lumas))
    steps = [k for k in range(-REACH, REACH + 1) if k]
    off = [np.sqrt(((lumas - lumas[np.clip(n + k, 0, n[-1])]) ** 2).mean(1)) for k in steps]
    logs = np.log(np.array(off).T / np.median(off) + 0.05)
    return (logs - logs.mean(0)) / (logs.std(0) + 1e-9)


def maps(pair: Pair) -> Iterator[tuple[str, Frames]]:
    """Yield ways to give each ref frame a clip frame."""
    clip, ref = (in_memory(luma(pictures), vs.GRAY8) for pictures in (pair.clip, pair.ref))
    ways = {"pad": {"mode": "pad"}, "stretch": {"mode": "stretch"}, "temporal, dtw": {"mode": "dtw", "tr": None}}
    if pair.copy:
        found = vs_align.analyse(clip, ref).geometry
        ways["temporal, dtw, geometry"] = {"mode": "dtw", "tr": None, "geometry": found}
    for name, how in ways.items():
        synced = vs_align.temporal(clip, ref, similarity="structure", **how)
        yield name, np.array([frame.props["AlignFrame"] for frame in synced.frames(close=True)], np.int64)


def played(pair: Pair, features: Features) -> paths.Path:
    """Find a path, play both clips along it and make sure that all of both is seen."""
    path = dtw_features(features(pair.ref), features(pair.clip))
    sources = [in_memory(luma(pictures), vs.GRAY8) for pictures in (pair.clip, pair.ref)]
    length = len(pair.ref) + len(pair.clip) - 1
    for node, source in zip(play(*sources, path), sources, strict=True):
        if node.num_frames != len(path) or len(path) > length:
            raise SystemExit(f"{pair.name}: {node.num_frames} steps are played, {len(path)} of {length} were asked for")
        shown = []
        for frame in node.frames(close=True):
            shown.append(int(frame.props["AlignFrame"]))
            if not np.array_equal(np.asarray(frame[0]), np.asarray(source.get_frame(shown[-1])[0])):
                raise SystemExit(f"{pair.name}: step {len(shown) - 1} shows another frame than {shown[-1]}")
        if sorted(set(shown)) != list(range(source.num_frames)) or shown != sorted(shown):
            raise SystemExit(f"{pair.name}: frames are left out, or go back")
    return path


def per_ref_frame(errors: Floats, ref: Frames) -> Floats:
    """Return the mean error of each ref frame over the steps in which it is shown."""
    return np.bincount(ref, errors) / np.bincount(ref)


def report(pair: Pair, way: str, ref: Frames, clip: Frames) -> None:
    left_out = len(pair.clip) - len(np.unique(clip))
    row = [pair.name, way, f"{len(ref)}", f"{left_out}", f"{clip[0]} to {clip[-1]} of {len(pair.clip) - 1}"]
    if pair.errors is None:
        row += ["-", "-", "-"]
    else:
        off = per_ref_frame(pair.errors(ref, clip), ref)
        near = f"{(off <= 1).mean():.2f}" if pair.unit == "frames" else "-"
        row += [f"{off.mean():.2f} {pair.unit}", f"{np.quantile(off, 0.9):.1f}", near]
    print(f"| {' | '.join(row)} |", flush=True)


def montage(pair: Pair, ways: dict[str, tuple[Frames, Frames]], folder: Path) -> None:
    """Write frames of ref, evenly over its length, and below each what each way shows then."""
    at = np.linspace(0, len(pair.ref) - 1, MONTAGE_COLUMNS).round().astype(int)
    rows = [("ref", pair.ref, at)]
    for way, (ref, clip) in ways.items():
        rows.append((way, pair.clip, clip[np.searchsorted(ref, at)]))
    width = round(MONTAGE_HEIGHT * pair.ref[0].shape[1] / pair.ref[0].shape[0])
    sheet = []
    for label, pictures, frames in rows:
        cells = [cv2.resize(pictures[k], (width, MONTAGE_HEIGHT), interpolation=cv2.INTER_AREA) for k in frames]
        for cell, k in zip(cells, frames.tolist(), strict=True):
            cv2.putText(cell, str(k), (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3)
            cv2.putText(cell, str(k), (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
        head = np.full((18, width * MONTAGE_COLUMNS, 3), 255, np.uint8)
        cv2.putText(head, label, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        sheet += [head, np.hstack(cells)]
    name = "".join(letter if letter.isalnum() else "_" for letter in pair.name)
    cv2.imwrite(str(folder / f"{name}.png"), np.vstack(sheet))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--footage", type=Path, default=Path(__file__).parents[2] / "shared" / "footage")
    parser.add_argument("--pairs", nargs="*", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--montage", type=Path, help="write a picture of each pair into this folder")
    options = parser.parse_args()
    print("| pair | way | steps | clip frames left out | clip shown | error, mean | 90 % within | within one frame |")
    print("|---|---|---|---|---|---|---|---|")
    for group in options.pairs:
        for pair in GROUPS[group](options.footage):
            ways = {way: (np.arange(len(pair.ref)), clip) for way, clip in maps(pair)}
            for way, features in (("dtw, play: looks", looks), ("dtw, play: self-similarity", self_similarity)):
                path = played(pair, features)
                ways[way] = path.ref, path.clip
            for way, (ref, clip) in ways.items():
                report(pair, way, ref, clip)
            if options.montage:
                options.montage.mkdir(parents=True, exist_ok=True)
                montage(pair, ways, options.montage)


if __name__ == "__main__":
    main()
