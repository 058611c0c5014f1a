"""How long it takes until the first frame: the import, and temporal's first frame beside its source's own.

    python benchmarks/startup.py [FILE] [--runs 7] [--tr 20]

Every figure is of a fresh process, after one that fills the caches: seconds that pass, and seconds of CPU time, which
other programs on the machine disturb less. "dependencies" is the import of NumPy, OpenCV, VapourSynth and platformdirs
alone; "import" that and `import vs_align`; "import, temporal" that and what `vs_align.temporal` loads when it is first
asked for; "import, all" with everything that vs_align has. "source" opens FILE through BestSource, its index being
there, and gets frame 0. "temporal" opens it twice and gets frame 0 of `vs_align.temporal(clip, ref)` with precision 1.
"decoding" reads the same frames without the filter: 0 of ref and the first tr + 1 of clip. Without FILE a 1080p film is
made.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np

_CLOCKS = """
import json, sys, time
began = time.perf_counter(), time.process_time()
def since():
    return time.perf_counter() - began[0], time.process_time() - began[1]
"""
_IMPORT = (
    _CLOCKS
    + """
found = {}
import numpy, cv2, vapoursynth, platformdirs
found["dependencies"] = since()
import vs_align
found["import"] = since()
vs_align.temporal
found["import, temporal"] = since()
from vs_align import *
found["import, all"] = since()
print(json.dumps(found))
"""
)
_FIRST = (
    """
import sys
import vapoursynth as vs
import vs_align
path, index, tr, what = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
temporal = vs_align.temporal
opened = lambda: vs.core.bs.VideoSource(path, cachemode=4, cachepath=index)
vs.core.std.BlankClip(length=1).get_frame(0)
"""
    + _CLOCKS
    + """
ref = opened()
if what != "source":
    clip = opened()
if what == "temporal":
    temporal(clip, ref, tr=tr).get_frame(0)
else:
    under_way = [clip.get_frame_async(n) for n in range(min(tr + 1, clip.num_frames))] if what == "decoding" else []
    ref.get_frame(0)
    [future.result() for future in under_way]
print(json.dumps({what: since()}))
"""
)


def film(path: Path, width: int = 1920, height: int = 1080, frames: int = 72) -> Path:
    """Encode a pan over a made landscape, as films are encoded."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8 + 40, width // 8 + 80, 3), np.uint8)
    land = cv2.resize(coarse, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx264", rate=24, options={"crf": "20", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            picture = np.ascontiguousarray(land[n : n + height, 2 * n : 2 * n + width])
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        sink.mux(stream.encode(None))
    return path


def timed(code: str, *arguments: object) -> dict[str, list[float]]:
    """Run code in a process of its own; return what it prints: seconds that pass and of CPU time."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--tr", type=int, default=20)
    options = parser.parse_args()
    found: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or film(Path(folder) / "film.mp4")
        for run in range(options.runs + 1):
            times = timed(_IMPORT)
            for what in ("source", "decoding", "temporal"):
                times |= timed(_FIRST, path.resolve(), folder, options.tr, what)
            if run:
                for name, value in times.items():
                    found.setdefault(name, []).append(value)
    for other in ("source", "decoding"):
        found[f"temporal - {other}"] = (np.array(found["temporal"]) - found[other]).tolist()
    print("| | median, s | best | worst | median, CPU s |\n|---|---|---|---|---|")
    for name, values in found.items():
        wall, cpu = zip(*values, strict=True)
        middle = statistics.median(wall), min(wall), max(wall), statistics.median(cpu)
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in middle)} |")


if __name__ == "__main__":
    main()
