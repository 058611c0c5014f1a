"""What a frame server may bring: variable rates, GPU-resident clips, alpha, scripts run twice, many outputs."""

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import vapoursynth as vs
from cli_files import scene, write
from helpers import drawn, moving, props, same_picture, values
from numbered_films import environment

import vs_align
from vs_align import checks

needs_source = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")

ROOT = Path(__file__).resolve().parents[1]
FRAMES, LATE = 24, 3
# Frames of 20 and of 60 ms, in no rhythm.
LASTING_MS = [60 if n * n % 7 < 3 else 20 for n in range(FRAMES + LATE)]


def opened(path: Path) -> vs.VideoNode:
    return vs.core.bs.VideoSource(str(path), cachemode=0)


# ---------------------------------------------------------------- a variable frame rate, from BestSource


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """Clip shows at frame n + 3 what ref shows at n; both vary, each in its own way."""
    folder = tmp_path_factory.mktemp("varied")
    paint = scene()
    of_ref = np.concatenate([[0], np.cumsum(LASTING_MS[: FRAMES - 1])]).tolist()
    of_clip = np.concatenate([[0], np.cumsum(LASTING_MS[::-1][: FRAMES + LATE - 1])]).tolist()
    ref = write(folder / "ref.mkv", [paint(n) for n in range(FRAMES)], rate=25, times=of_ref)
    pictures = [paint(n - LATE) for n in range(FRAMES + LATE)]
    return write(folder / "clip.mkv", pictures, rate=25, times=of_clip), ref


def rgb(clip: vs.VideoNode) -> vs.VideoNode:
    return clip.resize.Bicubic(format=vs.RGB24, matrix_in_s="709")


def lasting_ms(clip: vs.VideoNode, frames: range) -> list[float]:
    return [float(1000 * Fraction(f["_DurationNum"], f["_DurationDen"])) for f in props(clip, frames)]


@needs_source
def test_frames_of_a_variable_rate_are_matched_and_last_as_long_as_refs(varied):
    clip, ref = map(opened, varied)
    inner = range(FRAMES - 1)
    # That the file says what was meant.
    assert np.allclose(lasting_ms(ref, inner), LASTING_MS[: FRAMES - 1], atol=1e-3)
    for options in (
        {"tr": 5},
        {"tr": 5, "mode": "dtw"},
        {"tr": 5, "mode": "offset"},
        {"tr": 5, "similarity": "structure"},
    ):
        synced = vs_align.temporal(clip, ref, **options)
        assert values(synced) == [n + LATE for n in range(FRAMES)], options
        assert lasting_ms(synced, inner) == lasting_ms(ref, inner), options
        assert all(same_picture(synced, n, clip, n + LATE) for n in (0, 11, FRAMES - 1))


@needs_source
def test_a_variable_rate_is_no_matter_to_analyse_and_spatial(varied):
    clip, ref = map(opened, varied)
    found = vs_align.analyse(clip, ref)
    assert found.frame.tolist() == [n + LATE for n in range(FRAMES)]
    warped = vs_align.spatial(rgb(clip[LATE:]), rgb(ref))
    assert lasting_ms(warped, range(FRAMES - 1)) == lasting_ms(ref, range(FRAMES - 1))


@needs_source
def test_rates_can_be_given_where_the_file_has_none(varied):
    clip, ref = map(opened, varied)
    timeless = vs.core.std.Splice([ref[:10].std.AssumeFPS(fpsnum=24), ref[10:].std.AssumeFPS(fpsnum=30)])
    assert timeless.fps_num == 0
    synced = vs_align.temporal(clip, timeless, tr=5, clip_num=25, clip_den=1, ref_num=25, ref_den=1)
    assert values(synced) == [n + LATE for n in range(FRAMES)]


# ---------------------------------------------------------------- GPU-resident clips


class OnGpu:
    """Stands for a clip that lives on a GPU: whoever reads it before it is downloaded has it say so."""

    gpu_resident = True

    def __init__(self, clip: vs.VideoNode) -> None:
        self.format, self.width, self.height = clip.format, clip.width, clip.height
        self.std = SimpleNamespace(GPUDownload=lambda: clip)


@pytest.fixture
def gpu(monkeypatch):
    """Return what makes a clip GPU-resident: for real where that can be, else as far as our code can see."""
    try:
        node = vs.core.std.BlankClip(length=1).std.GPUUpload()
        node.std.GPUDownload().get_frame(0)
        return lambda clip: clip.std.GPUUpload()
    except (vs.Error, AttributeError):
        pass
    seen = {name: getattr(vs, name) for name in ("core", "PresetVideoFormat", "INTEGER", "YUV", "RGB", "GRAY", "FLOAT")}
    monkeypatch.setattr(checks, "vs", SimpleNamespace(VideoNode=(vs.VideoNode, OnGpu), **seen))
    return OnGpu


@pytest.fixture(scope="module")
def pair():
    paint = moving()
    ref = drawn(paint, FRAMES, vs.RGB24)
    return drawn(lambda n: paint(n - LATE), FRAMES + LATE, vs.RGB24), ref


def test_gpu_resident_clips_are_downloaded_by_temporal(pair, gpu):
    clip, ref = pair
    blank = ref.std.BlankClip(keep=True)
    expected = vs_align.temporal(clip, ref, clip, tr=5, fallback=blank)
    synced = vs_align.temporal(gpu(clip), gpu(ref), gpu(clip), tr=5, fallback=gpu(blank))
    assert values(synced) == values(expected) == [n + LATE for n in range(FRAMES)]
    assert all(same_picture(synced, n, expected, n) for n in (0, FRAMES - 1))


def test_gpu_resident_clips_are_downloaded_by_spatial(pair, gpu):
    clip, ref = pair[0][LATE:], pair[1]
    mask = ref.std.BlankClip(format=vs.GRAY8, keep=True)
    expected = vs_align.spatial(clip.std.Crop(2, 2, 2, 2), ref, mask)
    aligned = vs_align.spatial(gpu(clip.std.Crop(2, 2, 2, 2)), gpu(ref), gpu(mask))
    assert all(same_picture(aligned, n, expected, n) for n in (0, 7))


def test_gpu_resident_clips_are_downloaded_by_analyse_and_what_follows(pair, gpu, tmp_path):
    clip, ref = pair
    found = vs_align.analyse(gpu(clip), gpu(ref))
    assert found.frame.tolist() == [n + LATE for n in range(FRAMES)]
    assert same_picture(found.apply(gpu(clip)), 4, ref, 4)
    found.save(tmp_path / "found.json")
    assert len(vs_align.Alignment.load(tmp_path / "found.json", gpu(clip), gpu(ref))) == FRAMES


# ---------------------------------------------------------------- alpha


def with_alpha(clip: vs.VideoNode, step: int) -> vs.VideoNode:
    """Give each frame n an alpha of its own, of the level n * step."""
    blank = clip.std.BlankClip(format=vs.GRAY8, keep=True)
    return clip.std.ClipToProp(blank.std.FrameEval(lambda n: blank.std.BlankClip(color=step * n, keep=True)), "_Alpha")


def alpha_of(clip: vs.VideoNode, n: int) -> int:
    return int(np.asarray(clip.get_frame(n).props["_Alpha"][0])[0, 0])


@pytest.mark.parametrize("mode", ["match", "dtw", "offset", "pad"])
def test_temporal_keeps_the_alpha_of_the_frame_that_it_picks(mode, pair):
    clip, ref = with_alpha(pair[0], 5), with_alpha(pair[1], 1)
    synced = vs_align.temporal(clip, ref, tr=5, mode=mode)
    for n in (0, 9, 20):
        assert alpha_of(synced, n) == 5 * synced.get_frame(n).props["AlignFrame"]


def test_temporal_has_the_fallbacks_alpha_where_it_falls_back_and_none_where_out_has_none(pair):
    clip, ref = with_alpha(pair[0], 5), pair[1]
    other = with_alpha(ref.std.BlankClip(keep=True), 7)
    fallen = vs_align.temporal(clip, ref, tr=5, fallback=other, thresh=0)
    assert [alpha_of(fallen, n) for n in (1, 4)] == [7, 28]
    assert "_Alpha" not in vs_align.temporal(clip, ref, pair[0], tr=5).get_frame(3).props
    assert alpha_of(vs_align.temporal(clip, ref, tr=5, debug=True), 3) == 5 * (3 + LATE)


def test_spatial_warps_the_alpha_of_clip_with_its_picture(pair):
    # Alpha that is clip's own first plane has to land where the picture lands.
    ref = drawn(moving(), 4, vs.RGB24)
    moved = ref.std.Crop(left=3).std.AddBorders(right=3)
    moved = moved.std.ClipToProp(moved.std.ShufflePlanes(0, vs.GRAY), "_Alpha")
    aligned = vs_align.spatial(moved, ref)
    for n in range(4):
        frame = aligned.get_frame(n)
        assert frame.props["AlignMaxShift"] > 2
        assert np.array_equal(np.asarray(frame[0]), np.asarray(frame.props["_Alpha"][0]))


@needs_source
def test_files_with_alpha_go_through_all_filters(tmp_path):
    av = pytest.importorskip("av")
    paint, path = moving(), tmp_path / "alpha.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
        for n in range(FRAMES):
            picture = np.rint(255 * np.moveaxis(paint(n), 0, 2)).astype(np.uint8)
            alpha = np.full((*picture.shape[:2], 1), 9 * n, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([picture, alpha], 2), format="rgba")
            frame = frame.reformat(format="yuva420p")
            frame.pts = n
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    clip = opened(path)
    assert abs(alpha_of(clip, 10) - 90) <= 1
    ref = clip[LATE:].std.RemoveFrameProps("_Alpha")
    synced = vs_align.temporal(clip, ref, tr=5)
    assert [alpha_of(synced, n) for n in (0, 5)] == [alpha_of(clip, n + LATE) for n in (0, 5)]
    assert vs_align.analyse(clip, ref).frame.tolist() == [n + LATE for n in range(FRAMES - LATE)]
    warped = vs_align.spatial(rgb(clip[LATE:]), rgb(ref))
    assert same_picture(warped, 2, rgb(ref), 2) and alpha_of(warped, 2) == alpha_of(clip, 2 + LATE)


# ---------------------------------------------------------------- scripts run twice, and many outputs

# A picture that changes with the frame number, of the standard plugins alone.
SCRIPT = """
import numpy as np
import vapoursynth as vs
import vs_align

core = vs.core
base = core.std.BlankClip(None, 96, 64, vs.RGB24, 30, 24, 1, keep=True)
land = np.random.default_rng(1).integers(0, 256, (200, 200), np.uint8)

def fill(n, f):
    frame = f.copy()
    for p in range(3):
        np.asarray(frame[p])[:] = land[n : n + 64, 2 * n : 2 * n + 96] // (p + 1)
    return frame

ref = core.std.BoxBlur(core.std.ModifyFrame(base, base, fill), hradius=2, vradius=2)
clip = core.std.Trim(ref, 0, 0) + ref
vs_align.temporal(clip, ref, tr=3).set_output(0)
vs_align.spatial(core.std.Crop(ref, 2, 2, 2, 2), ref).set_output(1)
vs_align.temporal(clip, ref, tr=3, mode="dtw", debug=True).set_output(2)
ref.set_output(3)
"""

TWICE = """
import sys
import vapoursynth as vs

text = open(sys.argv[1]).read()
taken = []
for run in range(2):
    # As an editor does that has no new environment for each run.
    vs.clear_outputs()
    exec(compile(text, sys.argv[1], "exec"), {"__name__": "__vapoursynth__"})
    outputs = {k: vs.get_output(k).clip for k in range(4)}
    if run == 0:
        old = outputs
        old[0].get_frame(4), old[2].get_frame(4)
    taken.append([bytes(node.get_frame(n)[0]) for node in outputs.values() for n in (7, 0, 29)])
    numbers = [outputs[0].get_frame(n).props["AlignFrame"] for n in range(30)]
    # Of the two frames that show the first picture the nearer.
    assert numbers == [0, *range(2, 31)], numbers
assert taken[0] == taken[1]
# What the first run made still works beside the second.
assert [bytes(node.get_frame(n)[0]) for node in old.values() for n in (7, 0, 29)] == taken[0]
vs.clear_outputs()
del old, outputs
print("same")
"""


def test_a_script_that_is_run_twice_in_one_process_gives_the_same(tmp_path):
    (tmp_path / "script.vpy").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-c", TWICE, str(tmp_path / "script.vpy")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "same\n", "")


def vspipe(folder: Path, *options: str) -> subprocess.CompletedProcess:
    program = shutil.which("vspipe", path=str(Path(sys.executable).parent)) or shutil.which("vspipe")
    if not program:
        pytest.skip("vspipe is not installed beside this Python")
    command = [program, *options, str(folder / "script.vpy"), "-"]
    done = subprocess.run(command, capture_output=True, env=environment(folder), timeout=120, check=False)
    if b"VSScript" in done.stderr and done.returncode:
        pytest.skip(f"vspipe does not start with this Python: {done.stderr.decode(errors='replace').strip()}")
    return done


def test_vspipe_reads_each_of_several_outputs(tmp_path):
    (tmp_path / "script.vpy").write_text(SCRIPT)
    read = {}
    for output in (0, 1, 3):
        done = vspipe(tmp_path, "-o", str(output))
        assert done.returncode == 0, done.stderr.decode()
        # Nothing but samples: 30 frames of 96x64, three planes each.
        assert len(done.stdout) == 30 * 3 * 96 * 64
        read[output] = np.frombuffer(done.stdout, np.uint8).reshape(30, 3, 64, 96)
    assert np.array_equal(read[0], read[3])
    # A part of an output is the same part.
    part = vspipe(tmp_path, "-o", "0", "-s", "10", "-e", "12")
    assert part.stdout == read[0][10:13].tobytes()
    inner = (..., slice(6, -6), slice(6, -6))
    assert np.abs(read[1][inner].astype(int) - read[3][inner]).mean() < 3
