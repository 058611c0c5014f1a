"""The sample scripts through real vspipe into real encoders.

Each picture carries its number as a row of dark and light blocks, and is coded without loss on the way in and out: what
an encoder was given is read back from the decoded file.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

av = pytest.importorskip("av")
vs = pytest.importorskip("vapoursynth")

from numbered_films import (  # noqa: E402
    CUT,
    FALLBACK_LOOK,
    FILM,
    NTSC,
    OTHER_LOOK,
    PAL,
    SCRIPTS,
    SIZE,
    USUAL,
    WHOLE,
    Film,
    Levels,
    environment,
    in_order,
    load_demo,
    luma_of,
    muddled,
    number_of,
)

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
        {
            "clip": Film([j * 4 // 5 for j in range(75)], fps=NTSC, size=(180, 144), levels=OTHER_LOOK),
            "ref": Film(range(60)),
        },
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


def script(name: str) -> Path:
    """Return a sample script; the one for previewers ends in .py."""
    return SCRIPTS / (f"{name}.py" if name == "preview" else f"{name}.vpy")


def test_every_script_has_a_case():
    others = {"demo.py", "demo_scene.py"}  # make demo's, no scripts for the frame server
    others |= {"pose.vpy"}  # tests/test_cli_pose.py
    assert {path.name for path in SCRIPTS.glob("*.*py")} - others == {script(name).name for name in (*CASES, *ALIGNING)}


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


def check_video(path: Path, case: Case) -> None:
    rate, frames = decode(path)
    assert rate == case.fps
    assert frames[0].shape[::-1] == case.files["clip"].size
    assert [number_of(luma, case.look_of(n)) for n, luma in enumerate(frames)] == case.expected


@pytest.mark.parametrize("encoder", ["x264", "ffmpeg"])
@pytest.mark.parametrize("name", CASES)
def test_script_into_an_encoder(name, encoder, made, tmp_path):
    case, target = CASES[name], tmp_path / "out.mkv"
    source = vspipe_command(script(name), made(name), case.output)
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
    pipe(vspipe_command(script(name), arguments), encoder_command(encoder, target), tmp_path)
    rate, frames = decode(target)
    assert (rate, len(frames)) == (FILM, 3)
    inside = np.s_[10:-10, 10:-10]
    for wanted, old, new in zip(truth, before, frames, strict=True):
        wrong, left = (np.abs(luma.astype(float) - wanted)[inside].mean() for luma in (old, new))
        assert left < 0.2 * wrong


# ---------------------------------------------------------------- more about single scripts


def test_preview_shows_clip_ref_synced_difference_and_scores(made, tmp_path):
    shown = []
    for output in range(5):
        target = tmp_path / f"{output}.mkv"
        source = vspipe_command(script("preview"), made("preview"), output)
        pipe(source, encoder_command("ffmpeg", target), tmp_path)
        shown.append(decode(target))
    (clip_rate, clip), (_, ref), (_, synced), (_, difference), (scores_rate, scores) = shown
    assert (clip_rate, scores_rate) == (PAL, FILM)
    assert [number_of(luma, USUAL) for luma in clip] == muddled(40)
    assert [number_of(luma, USUAL) for luma in ref] == WHOLE
    assert all((luma == 128).all() for luma in difference)
    assert len(difference) == len(scores) == len(synced) == 40
    for plain, drawn in zip(synced, scores, strict=True):
        changed = plain != drawn
        assert 0.05 < changed.mean() < 0.95


def test_preview_takes_files_of_two_sizes(made, tmp_path):
    shown = []
    for output in (2, 3):
        target = tmp_path / f"{output}.mkv"
        source = vspipe_command(script("preview"), made("demo"), output)
        pipe(source, encoder_command("ffmpeg", target), tmp_path)
        shown.append(decode(target)[1])
    synced, difference = shown
    assert [number_of(luma, OTHER_LOOK) for luma in synced] == WHOLE
    assert synced[0].shape == (144, 180) and difference[0].shape == SIZE[::-1]


def test_no_script_names_one_that_is_not_there():
    for path in SCRIPTS.glob("*.*py"):
        named = re.findall(r"\b\w+\.v?py\b", path.read_text(encoding="utf-8"))
        assert all((SCRIPTS / name).is_file() for name in named if name != "script.vpy"), path


def test_fallback_says_which_frames_it_gave(made, tmp_path):
    properties = tmp_path / "properties.json"
    command = vspipe_command(script("fallback"), made("fallback"))
    command[1:1] = ["-j", str(properties)]
    pipe(command, encoder_command("ffmpeg", tmp_path / "out.mkv"), tmp_path)
    fell_back = [frame["AlignFallback"] for frame in json.loads(properties.read_text(encoding="utf-8"))]
    assert fell_back == [int(n not in CUT) for n in WHOLE]
