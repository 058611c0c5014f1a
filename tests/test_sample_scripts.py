"""The sample scripts through real vspipe into real encoders, and the code of the README and of docs/.

Each picture carries its number as a row of dark and light blocks, and is coded without loss on the way in and out: what
an encoder was given is read back from the decoded file.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

av = pytest.importorskip("av")
vs = pytest.importorskip("vapoursynth")

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "sample_scripts"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

FILM, NTSC, PAL = Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25)
COLUMNS, ROWS, NUMBER_ROW = 10, 6, 3
SIZE = (160, 96)
type Levels = tuple[int, int]
USUAL, OTHER_LOOK, FALLBACK_LOOK = (50, 190), (80, 150), (30, 110)


# ---------------------------------------------------------------- pictures that carry a number


def picture(number: int, size: tuple[int, int], levels: Levels) -> av.VideoFrame:
    """Return a frame of dark and light blocks: one row spells the number, the others are another pattern for each."""
    blocks = np.random.default_rng(number).integers(0, 2, (ROWS, COLUMNS), np.uint8)
    blocks[NUMBER_ROW] = [number >> bit & 1 for bit in range(COLUMNS)]
    luma = cv2.resize(np.array(levels, np.uint8)[blocks], size, interpolation=cv2.INTER_NEAREST)
    chroma = np.full((size[1] // 2, size[0]), 128 + levels[0] % 20, np.uint8)
    return av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), format="yuv420p")


def number_of(luma: np.ndarray, levels: Levels) -> int:
    """Read the number back. A picture of another look, and black, has none."""
    height, width = luma.shape
    x = (np.arange(COLUMNS) * 2 + 1) * width // (2 * COLUMNS)
    row = luma[(NUMBER_ROW * 2 + 1) * height // (2 * ROWS), x]
    if not np.isin(row, levels).all():
        raise AssertionError(f"the blocks are {row.tolist()}, not {levels}")
    return sum(1 << bit for bit in range(COLUMNS) if row[bit] == max(levels))


def load_demo():
    spec = importlib.util.spec_from_file_location("demo", SCRIPTS / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Film:
    """A file to be made: which pictures it shows, how fast, how large, in which two levels."""

    numbers: Iterable[int]
    fps: Fraction = FILM
    size: tuple[int, int] = SIZE
    levels: Levels = USUAL

    def write(self, path: Path, demo) -> None:
        frames = (picture(number, self.size, self.levels) for number in self.numbers)
        demo.encode(frames, path, self.fps, crf=0)  # x264 at 8 bit and crf 0 loses nothing


# ---------------------------------------------------------------- one case for each script


@dataclass(frozen=True)
class Case:
    """The files that a script is given, and what has to come out: the picture that each frame shows, in which look."""

    files: dict[str, Film]
    expected: list[int]
    fps: Fraction = FILM
    look: dict[int, Levels] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    output: int = 0

    def look_of(self, n: int) -> Levels:
        return self.look.get(n, self.files["clip"].levels)


def in_order(count: int) -> list[int]:
    """Return 0 .. count-1 late by three frames, some repeated."""
    return [0, 0, 0, *sorted([*range(count), 11, 20, 20, 30])]


def muddled(count: int) -> list[int]:
    """Return 0 .. count-1 late by three frames, some repeated and some in the wrong order; none is missing."""
    numbers = [0, 0, 0, *range(count)]
    numbers[11:13] = reversed(numbers[11:13])
    numbers[20:24] = reversed(numbers[20:24])
    numbers.insert(30, numbers[30])
    return numbers


WHOLE = list(range(40))
CUT = [n for n in WHOLE if not 15 <= n < 25]
SAME_RELEASE = {"clip": Film(muddled(40), fps=PAL), "ref": Film(WHOLE)}

CASES = {
    "same_release": Case(SAME_RELEASE, WHOLE),
    "dvd_onto_bluray": Case(
        {
            "clip": Film(muddled(40), fps=NTSC, size=(180, 144), levels=OTHER_LOOK),
            "ref": Film(WHOLE, size=(480, 270)),
        },
        WHOLE,
    ),
    # Hard telecine by repeats: at the 60th frame the numbers are 15 apart, three times what tr reaches.
    "different_rates": Case(
        {"clip": Film([j * 4 // 5 for j in range(75)], fps=NTSC), "ref": Film(range(60))},
        list(range(60)),
        arguments={"tr": "5"},
    ),
    "poor_copy": Case({"clip": Film(in_order(40), fps=PAL, levels=OTHER_LOOK), "ref": Film(WHOLE)}, WHOLE),
    "fallback": Case(
        {"clip": Film(CUT), "ref": Film(WHOLE), "fallback": Film(WHOLE, levels=FALLBACK_LOOK)},
        WHOLE,
        look={n: FALLBACK_LOOK for n in WHOLE if n not in CUT},
    ),
    "preview": Case(SAME_RELEASE, WHOLE, output=2),
    "demo": Case(
        {"clip": Film(muddled(40), size=(180, 144), levels=OTHER_LOOK, fps=PAL), "ref": Film(WHOLE)}, WHOLE
    ),
}


ALIGNING = ("align", "align_masked")


def test_every_script_has_a_case():
    assert {path.stem for path in SCRIPTS.glob("*.vpy")} == {*CASES, *ALIGNING}


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.fixture(scope="module")
def made(demo, tmp_path_factory):
    """Return a function that makes a case's files once and returns the arguments for vspipe."""
    folders: dict[str, Path] = {}

    def arguments(name: str) -> dict[str, str]:
        case = CASES[name]
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            for role, film in case.files.items():
                film.write(folders[name] / f"{role}.mkv", demo)
        return {role: str(folders[name] / f"{role}.mkv") for role in case.files} | case.arguments

    return arguments


# ---------------------------------------------------------------- vspipe and the encoders


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which vspipe finds this Python and this checkout."""
    # vspipe asks the `vapoursynth` command on PATH which Python to load, and notes it in the configuration folder.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder)}


def vspipe_command(script: Path, arguments: dict[str, str], output: int = 0) -> list[str]:
    beside = shutil.which("vspipe", path=str(Path(sys.executable).parent))
    vspipe = beside or shutil.which("vspipe")
    if not vspipe:
        pytest.skip("vspipe is not installed beside this Python")
    given = [word for name, value in arguments.items() for word in ("-a", f"{name}={value}")]
    return [vspipe, "-c", "y4m", "-o", str(output), *given, str(script), "-"]


def encoder_command(name: str, target: Path) -> list[str]:
    program = shutil.which(name)
    if not program:
        pytest.skip(f"{name} is not installed")
    if name == "x264":
        return [program, "--quiet", "--demuxer", "y4m", "--preset", "ultrafast", "--qp", "0", "-o", str(target), "-"]
    return [program, "-loglevel", "error", "-i", "-", "-c:v", "ffv1", str(target)]


def pipe(source: list[str], sink: list[str], folder: Path) -> None:
    """Run one program's output into another's input and have both succeed."""
    with (folder / "source.log").open("wb") as said, (folder / "sink.log").open("wb") as sink_said:
        first = subprocess.Popen(
            source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=environment(folder)
        )
        with first:
            second = subprocess.run(
                sink, stdin=first.stdout, stdout=subprocess.DEVNULL, stderr=sink_said, timeout=120, check=False
            )
    logs = [(folder / name).read_text(errors="replace") for name in ("source.log", "sink.log")]
    if "VSScript" in logs[0] and first.returncode:
        pytest.skip(f"vspipe does not start with this Python: {logs[0].strip()}")
    assert (first.returncode, second.returncode) == (0, 0), "\n".join(logs)


def decode(path: Path) -> tuple[Fraction, list[np.ndarray]]:
    """Return a file's frame rate and the luma of its frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return Fraction(stream.average_rate), [luma_of(frame) for frame in frames]


def luma_of(frame: av.VideoFrame) -> np.ndarray:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def check_video(path: Path, case: Case) -> None:
    rate, frames = decode(path)
    assert rate == case.fps
    assert frames[0].shape[::-1] == case.files["clip"].size
    assert [number_of(luma, case.look_of(n)) for n, luma in enumerate(frames)] == case.expected


@pytest.mark.parametrize("encoder", ["x264", "ffmpeg"])
@pytest.mark.parametrize("name", CASES)
def test_script_into_an_encoder(name, encoder, made, tmp_path):
    case, target = CASES[name], tmp_path / "out.mkv"
    source = vspipe_command(SCRIPTS / f"{name}.vpy", made(name), case.output)
    pipe(source, encoder_command(encoder, target), tmp_path)
    check_video(target, case)


@pytest.mark.parametrize("name", CASES)
def test_the_case_is_wrong_before_the_script(name, made):
    """Were the clip's own frames right, a script that did nothing would pass."""
    case = CASES[name]
    _, frames = decode(Path(made(name)["clip"]))
    shown = [number_of(luma, case.files["clip"].levels) for luma in frames[: len(case.expected)]]
    assert shown == list(case.files["clip"].numbers)[: len(shown)]
    assert shown != case.expected


# ---------------------------------------------------------------- the scripts that warp

# What clip is displaced by, and where ref has a logo that clip does not.
SHIFT, LOGO = (5, -3), np.s_[30:60, 60:110]


def textured(number: int, shift: tuple[int, int] = (0, 0), logo: bool = False) -> np.ndarray:
    """Return the luma of a landscape, seen displaced and with or without a logo."""
    rough = np.random.default_rng(number).standard_normal((SIZE[1] + 40, SIZE[0] + 40))
    land = cv2.GaussianBlur(rough, (0, 0), 2) + 2 * cv2.GaussianBlur(rough, (0, 0), 5)
    x, y = 20 - shift[0], 20 - shift[1]
    luma = np.clip(126 + 40 * land / land.std(), 20, 230)[y : y + SIZE[1], x : x + SIZE[0]].astype(np.uint8)
    if logo:
        luma[LOGO] = 235
        luma[LOGO][6:-6:4] = 16
    return luma


def write_lumas(path: Path, lumas: list[np.ndarray], demo) -> None:
    grey = np.full((SIZE[1] // 2, SIZE[0]), 128, np.uint8)
    frames = [av.VideoFrame.from_ndarray(np.vstack([luma, grey]), format="yuv420p") for luma in lumas]
    demo.encode(iter(frames), path, FILM, crf=0)


@pytest.mark.parametrize("encoder", ["x264", "ffmpeg"])
@pytest.mark.parametrize("name", ALIGNING)
def test_a_script_that_warps_puts_the_picture_in_place(name, encoder, demo, tmp_path):
    masked = name == "align_masked"
    truth = [textured(n) for n in range(3)]
    before = [textured(n, SHIFT) for n in range(3)]
    write_lumas(tmp_path / "clip.mkv", before, demo)
    write_lumas(tmp_path / "ref.mkv", [textured(n, logo=masked) for n in range(3)], demo)
    arguments = {role: str(tmp_path / f"{role}.mkv") for role in ("clip", "ref")}
    if masked:
        mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        mask[LOGO] = 255
        cv2.imwrite(str(tmp_path / "mask.png"), mask)
        arguments["mask"] = str(tmp_path / "mask.png")
    target = tmp_path / "out.mkv"
    pipe(vspipe_command(SCRIPTS / f"{name}.vpy", arguments), encoder_command(encoder, target), tmp_path)
    rate, frames = decode(target)
    assert (rate, len(frames)) == (FILM, 3)
    inside = np.s_[10:-10, 10:-10]
    for wanted, old, new in zip(truth, before, frames, strict=True):
        wrong, left = (np.abs(luma.astype(float) - wanted)[inside].mean() for luma in (old, new))
        assert left < 0.2 * wrong


# ---------------------------------------------------------------- more about single scripts


def test_preview_shows_clip_ref_synced_and_debug(made, tmp_path):
    shown = []
    for output in range(4):
        target = tmp_path / f"{output}.mkv"
        source = vspipe_command(SCRIPTS / "preview.vpy", made("preview"), output)
        pipe(source, encoder_command("ffmpeg", target), tmp_path)
        shown.append(decode(target))
    (clip_rate, clip), (_, ref), (_, synced), (debug_rate, debug) = shown
    assert (clip_rate, debug_rate) == (PAL, FILM)
    assert [number_of(luma, USUAL) for luma in clip] == muddled(40)
    assert [number_of(luma, USUAL) for luma in ref] == WHOLE
    assert len(debug) == len(synced) == 40
    for plain, drawn in zip(synced, debug, strict=True):
        changed = plain != drawn
        assert 0.05 < changed.mean() < 0.95


def test_fallback_says_which_frames_it_gave(made, tmp_path):
    properties = tmp_path / "properties.json"
    command = vspipe_command(SCRIPTS / "fallback.vpy", made("fallback"))
    command[1:1] = ["-j", str(properties)]
    pipe(command, encoder_command("ffmpeg", tmp_path / "out.mkv"), tmp_path)
    fell_back = [frame["AlignFallback"] for frame in json.loads(properties.read_text(encoding="utf-8"))]
    assert fell_back == [int(n not in CUT) for n in WHOLE]


# ---------------------------------------------------------------- the code in the documents


def python_blocks() -> list:
    """Return each fenced python block of the documents as a test parameter; those that need torch say so."""
    found = []
    no_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8") if document.is_file() else ""
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 2
            marks = [pytest.mark.torch, no_torch] if re.search(r"butteraugli|precision=2", match[1]) else []
            found.append(pytest.param(match[1], document, line, marks=marks, id=f"{document.name}-{line}"))
    return found


def blocks_clip(numbers: Iterable[int], fps: Fraction = FILM) -> vs.VideoNode:
    """Return a clip of numbered pictures, in memory."""
    lumas = [luma_of(picture(number, SIZE, USUAL)) for number in numbers]
    blank = vs.core.std.BlankClip(None, *SIZE, vs.YUV420P8, len(lumas), fps.numerator, fps.denominator)

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        painted = f.copy()
        np.copyto(np.asarray(painted[0]), lumas[n])
        return painted

    return blank.std.ModifyFrame(blank, paint)


def test_the_documents_have_code():
    assert any(parameter.values[1].name == "README.md" for parameter in python_blocks())


@pytest.mark.parametrize(("code", "document", "line"), python_blocks())
def test_code_in_the_documents_runs(code, document, line, demo, tmp_path, monkeypatch):
    """Blocks may use `clip` and `ref`, in step but for three frames, and files clip.mkv and ref.mkv."""
    if re.search(r"\bmkv\b", code):
        Film(muddled(40)).write(tmp_path / "clip.mkv", demo)
        Film(WHOLE).write(tmp_path / "ref.mkv", demo)
    monkeypatch.chdir(tmp_path)
    names = {"clip": blocks_clip(muddled(40)), "ref": blocks_clip(WHOLE)}
    before = dict(names)
    try:
        exec(compile("\n" * (line - 1) + code, str(document), "exec"), names)
        changed = [value for name, value in names.items() if value is not before.get(name)]
        made = [value for value in changed if isinstance(value, vs.VideoNode)]
        made += [output.clip for output in vs.get_outputs().values()]
    finally:
        vs.clear_outputs()
    assert made, "the block makes no clip"
    for node in made:
        node.get_frame(len(node) // 2).close()
