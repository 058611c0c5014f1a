"""Frame error across cameras that see one scene from different places, uncalibrated.

    python benchmarks/two_cameras.py [--footage ../shared/footage] [--measures structure planestats embedding]

Three webcams film a man with a board; a file of time stamps says when each frame was taken. For each pair of cameras,
and each of several cuts of the beginning of one of them (so that playing both from their beginnings is wrong by so many
frames), each method says a clip frame for each ref frame, and the error is the distance in frames to the one that was
taken nearest in time, over the ref frames that have one. "nearest" is the best of all frames by the measure, "path" the
cheapest warping path, "offset" what `vs_align.offset` makes of the whole of it with each predictor. "chance" answers
with any frame.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vs_align.matching.dtw import dtw
from vs_align.matching.offset_evidence import evidence_for
from vs_align.matching.offsets import PREDICTORS, Sight
from vs_align.train.offset.scenes import compared, cut

CAMERAS = (0, 1, 2)
CUTS = (-24, -12, -6, 0, 6, 12, 24)
SIZE = (320, 180)
type Frames = NDArray[np.float64]


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    """Decode a film in small and grey."""
    with av.open(str(path)) as source:
        return [frame.reformat(*SIZE, "gray").to_ndarray() for frame in source.decode(video=0)]


def times(path: Path) -> dict[int, Frames]:
    """Return when each camera took its frames, in s, in the order of its film."""
    found: dict[int, list[tuple[int, float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["cam_id"]), []).append((int(row["frame_index"]), float(row["frame_time"])))
    return {camera: np.array([time for _, time in sorted(rows)]) for camera, rows in found.items()}


def nearest_in_time(ref: Frames, clip: Frames) -> Frames:
    """Return the clip frame taken nearest in time to each ref frame; NaN where that is beyond clip's ends."""
    found = np.abs(clip[None] - ref[:, None]).argmin(1).astype(np.float64)
    spare = np.median(np.diff(clip)) / 2
    found[(ref < clip[0] - spare) | (ref > clip[-1] + spare)] = np.nan
    return found


def along_path(sight: Sight) -> Frames:
    """Return the clip frame of each ref frame along the cheapest warping path, the mean where there are several."""
    path = dtw(sight.distances, open_begin=True, open_end=True)
    return np.bincount(path.ref, path.clip) / np.bincount(path.ref)


def methods(measure: str) -> dict[str, Callable[[Sight], Frames]]:
    """Return what says a clip frame for each ref frame."""
    found: dict[str, Callable[[Sight], Frames]] = {
        "nearest": lambda sight: sight.distances.argmin(1).astype(np.float64),
        "path": along_path,
    }
    predictors = {"blend": evidence_for(measure).blend, **PREDICTORS}
    for name, predictor in predictors.items():
        found[f"offset, {name}"] = lambda sight, predictor=predictor: np.arange(len(sight)) + float(predictor(sight))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--footage", type=Path, default=Path(__file__).parents[2] / "shared" / "footage")
    parser.add_argument("--measures", nargs="*", default=["structure", "planestats", "embedding"])
    options = parser.parse_args()
    folder = options.footage / "multicam"
    stamps = times(folder / "caliscope_charuco_timestamps.csv")
    films = {camera: pictures(folder / f"caliscope_charuco_cam_{camera}.mp4") for camera in CAMERAS}
    pairs = [(a, b) for a in CAMERAS for b in CAMERAS if a < b]
    for camera in CAMERAS:
        assert len(films[camera]) == len(stamps[camera])
    errors: dict[tuple[str, str], dict[tuple[int, int], list[float]]] = {}
    said: dict[str, list[tuple[float, bool]]] = {}
    for ref, clip in pairs:
        for measure in options.measures:
            whole = compared(films[ref], films[clip], measure)
            for moved in CUTS:
                first_ref, first_clip = max(0, -moved), max(0, moved)
                length = len(whole) - abs(moved)
                sight = cut(whole, first_ref, first_clip, length)
                true = nearest_in_time(
                    stamps[ref][first_ref : first_ref + length], stamps[clip][first_clip : first_clip + length]
                )
                known = np.isfinite(true)
                rows = {
                    ("chance", "-"): np.abs(np.arange(length)[None] - true[known][:, None]).mean(1),
                    ("from their beginnings", "-"): np.abs(np.arange(length) - true)[known],
                }
                for name, method in methods(measure).items():
                    rows[name, "-" if "brightness" in name else measure] = np.abs(method(sight) - true)[known]
                for key, off in rows.items():
                    errors.setdefault(key, {}).setdefault((ref, clip), []).append(float(off.mean()))
                answer = evidence_for(measure).blend(sight)
                right = abs(answer - float(np.nanmedian(true - np.arange(length)))) <= 1
                said.setdefault(measure, []).append((evidence_for(measure).probability(sight, answer), right))
    print("| method | measure | " + " | ".join(f"cameras {a}, {b}" for a, b in pairs) + " | all |")
    print("|---|---|" + "---|" * (len(pairs) + 1))
    for (name, measure), found in errors.items():
        cells = [np.mean(found[pair]) for pair in pairs]
        print(f"| {name} | {measure} | " + " | ".join(f"{cell:.1f}" for cell in [*cells, np.mean(cells)]) + " |")
    print()
    for measure, answers in said.items():
        chances, rights = zip(*answers, strict=True)
        print(f"{measure}, blend: right within a frame {np.mean(rights):.2f}, said on average {np.mean(chances):.2f}")


if __name__ == "__main__":
    main()
