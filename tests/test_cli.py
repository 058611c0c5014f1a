"""``vs-align analyse`` and what all commands have in common, on files made here."""

import os
import pkgutil
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from cli_files import run, scene, write
from helpers import FOOTAGE, needs_footage

import vs_align
from vs_align.cli import commands
from vs_align.cli.command import Parser
from vs_align.cli.commands import analyse
from vs_align.cli.console import Console, Level

pytestmark = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = sorted(each.name for each in pkgutil.iter_modules(commands.__path__))
LATE = 7


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A clip that shows at frame n + 7 what ref shows at n, in another size."""
    folder = tmp_path_factory.mktemp("files")
    of_ref, of_clip = scene(), scene((128, 96))
    ref = write(folder / "ref.mkv", [of_ref(n) for n in range(60)])
    clip = write(folder / "clip.mkv", [of_clip(n - LATE) for n in range(67)])
    other = write(folder / "other.mkv", [scene(seed=5)(n) for n in range(60)])
    return clip, ref, other


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VS_ALIGN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def one_line(capsys, command: str, says: str) -> None:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"vs-align {command}: ") and said.err.count("\n") == 1, said.err
    assert re.search(says, said.err), said.err


# ---------------------------------------------------------------- analyse


def test_offset_is_found_and_said_on_stdout_alone(files, capsys):
    assert run("analyse", *files[:2]) == 0
    said = capsys.readouterr()
    facts = dict(line.split(maxsplit=1) for line in said.out.splitlines() if line and not line.startswith(" "))
    assert facts["offset"].startswith("clip is 7 frames late (291.7 ms); so for 100 % of the matches")
    assert facts["matched"].startswith("60 of 60 ref frames (100 %)")
    assert "audio delay  -291.7 ms" in said.out
    assert re.search(r"0-59 +0:00:00\.000 - 0:00:02\.500 +7-66 +\+7", said.out)
    assert said.err == ""


def test_other_way_round_the_offset_is_early(files, capsys):
    assert run("analyse", files[1], files[0]) == 0
    assert "clip is 7 frames early (291.7 ms)" in capsys.readouterr().out


def test_frames_that_clip_lacks_are_named_with_their_time(files, tmp_path, capsys):
    pictures = [scene()(n) for n in (*range(30), *range(50, 90))]
    cut = write(tmp_path / "cut.mkv", pictures)
    whole = write(tmp_path / "whole.mkv", [scene()(n) for n in range(90)])
    assert run("analyse", cut, whole) == 0
    out = capsys.readouterr().out
    # 30 frames of 24 a second last 1.25 s.
    assert re.search(r"at 30 +0:00:01\.250 +20 frames of ref that clip lacks", out), out
    assert re.search(r"50-89 .* 30-69 +-20", out), out


def test_speed_is_named(tmp_path, capsys):
    pictures = [scene()(n) for n in range(60)]
    slow, fast = (write(tmp_path / f"{rate}.mkv", pictures, rate=rate) for rate in (24, 25))
    assert run("analyse", fast, slow) == 0
    assert "0.96 s of clip per s of ref: 25 / 24 (PAL speed-up)" in capsys.readouterr().out


def test_rates_given_count_instead_of_the_files(files, capsys):
    assert run("analyse", *files[:2], "--clip-rate", "25", "--ref-rate", "25") == 0
    assert "7 frames late (280.0 ms)" in capsys.readouterr().out


def test_saved_files_hold_what_was_found(files, tmp_path):
    names = [tmp_path / name for name in ("a.json", "a.csv", "a.txt")]
    assert run("analyse", *files[:2], "--json", names[0], "--csv", names[1], "--timecodes", names[2], "-q") == 0
    found = [vs_align.Alignment.load(name) for name in names[:2]]
    assert all(np.array_equal(each.frame, np.arange(60) + LATE) for each in found)
    lines = names[2].read_text().splitlines()
    # Clip begins 7 frames of 1/24 s before ref, so that its frame n is shown at n / 24 s.
    assert lines[0] == "# timestamp format v2"
    assert np.allclose([float(line) for line in lines[1:]], np.arange(67) * 1000 / 24, atol=1e-3)


def test_a_finished_run_is_used_again(files, tmp_path, capsys, monkeypatch):
    saved = tmp_path / "a.json"
    assert run("analyse", *files[:2], "--json", saved) == 0
    first, before = capsys.readouterr().out, saved.read_bytes()
    monkeypatch.setattr(vs_align, "analyse", None)
    assert run("analyse", *files[:2], "--json", saved, "--csv", tmp_path / "a.csv") == 0
    said = capsys.readouterr()
    assert said.out == first
    assert said.err.startswith("nothing is compared again") and said.err.count("\n") == 1
    assert saved.read_bytes() == before and (tmp_path / "a.csv").exists()
    assert run("analyse", *files[:2], "--csv", tmp_path / "a.csv") == 0


@pytest.mark.parametrize("asked", [["--measure", "planestats"], ["--geometry", "none"], ["--ref-rate", "30"]])
def test_a_run_of_something_else_is_not_used_again(asked, files, tmp_path, capsys):
    saved = tmp_path / "a.json"
    assert run("analyse", *files[:2], "--json", saved, "-q") == 0
    capsys.readouterr()
    before = saved.read_bytes()
    assert run("analyse", *files[:2], "--json", saved, *asked) == 2
    one_line(capsys, "analyse", "was made with --.*--force")
    assert saved.read_bytes() == before
    assert run("analyse", *files[:2], "--json", saved, *asked, "--force") == 0
    assert saved.read_bytes() != before


def test_a_run_of_another_pair_is_not_used_again(files, tmp_path, capsys):
    saved = tmp_path / "a.json"
    assert run("analyse", *files[:2], "--json", saved, "-q") == 0
    capsys.readouterr()
    assert run("analyse", files[0], files[2], "--json", saved) == 2
    one_line(capsys, "analyse", "another pair, ref has other pictures.*--force")


def test_two_saved_files_that_disagree_are_refused(files, tmp_path, capsys):
    names = tmp_path / "a.json", tmp_path / "a.csv"
    assert run("analyse", *files[:2], "--json", names[0], "--csv", names[1], "-q") == 0
    rows = names[1].read_text().splitlines(keepends=True)
    rows[-1] = rows[-1].replace("59,66,", "59,65,")
    names[1].write_text("".join(rows))
    capsys.readouterr()
    assert run("analyse", *files[:2], "--json", names[0], "--csv", names[1]) == 2
    one_line(capsys, "analyse", "another alignment")


@pytest.mark.parametrize("option", ["--timecodes", "--json", "--csv", "--plot", "--plot-costs", "--contact-sheet"])
def test_other_files_that_are_there_are_refused_before_any_work(option, files, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    ending = {"--timecodes": "txt", "--json": "json", "--csv": "csv"}.get(option, "png")
    there = tmp_path / f"there.{ending}"
    there.write_text("mine")
    monkeypatch.setattr(analyse, "open_source", None)
    assert run("analyse", *files[:2], option, there) == 2
    one_line(capsys, "analyse", "is there already, and|is there already;")
    assert there.read_text() == "mine"


def test_force_overwrites_and_computes_again(files, tmp_path):
    there = tmp_path / "there.json"
    there.write_text("mine")
    assert run("analyse", *files[:2], "--json", there, "--force", "-q") == 0
    assert vs_align.Alignment.load(there).offset_frames == LATE


def test_drawings_are_written(files, tmp_path):
    pytest.importorskip("matplotlib")
    names = [tmp_path / name for name in ("offset.png", "costs.svg", "pairs.png")]
    options = zip(("--plot", "--plot-costs", "--contact-sheet"), names, strict=True)
    assert run("analyse", *files[:2], *(part for option in options for part in option), "-q") == 0
    assert [name.read_bytes()[:4] for name in names] == [b"\x89PNG", b"<?xm", b"\x89PNG"]


def test_nothing_lies_beside_the_inputs_and_indexes_in_the_cache(files, tmp_path, cache):
    before = sorted(files[0].parent.iterdir())
    assert run("analyse", *files[:2], "--json", tmp_path / "a.json", "-q") == 0
    assert sorted(files[0].parent.iterdir()) == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "cache"}
    assert {path.name for path in cache.iterdir()} == {"index"}


def test_a_cache_that_cannot_be_made_is_said_and_no_fault(files, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VS_ALIGN_CACHE", str(tmp_path / "file"))
    assert run("info", files[0]) == 0
    said = capsys.readouterr()
    assert "indexes cannot be kept" in said.err and said.err.count("\n") == 1
    assert "67 frames" in said.out


def test_two_films_that_have_nothing_in_common_are_doubtful(files, tmp_path, capsys):
    other = write(tmp_path / "other.mkv", [np.roll(scene(seed=9)(3 * n)[::-1], 7 * n, 1) for n in range(60)])
    assert run("analyse", files[0], other) == 0
    said = capsys.readouterr()
    assert said.out.startswith("clip ") and said.err.splitlines()[-1].startswith("doubtful: ")
    assert run("analyse", *files[:2]) == 0
    assert "doubtful" not in capsys.readouterr().err


def test_a_variable_frame_rate_is_said(files, tmp_path, capsys):
    times = [40 * n + (400 if n > 20 else 0) for n in range(60)]
    varied = write(tmp_path / "varied.mkv", [scene()(n) for n in range(60)], rate=25, times=times)
    assert run("analyse", files[0], varied) == 0
    said = capsys.readouterr()
    assert "varied.mkv has a variable frame rate" in said.err and said.err.count("\n") == 1
    assert "7-66" in said.out
    assert run("analyse", files[0], varied, "-q") == 0
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- all commands


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen_and_has_an_example(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(command, "--help") == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= min(max(columns, 80), 110)
    assert f"\n  vs-align {command}" in out


def test_help_names_all_commands_and_version_is_ours(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^    {command} ", out, re.MULTILINE) for command in COMMANDS)
    assert run("--version") == 0
    assert capsys.readouterr().out == f"vs-align {vs_align.__version__}\n"


@pytest.mark.parametrize("page", ["README.md", "docs/command-line.md"])
def test_every_command_that_is_documented_is_understood(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}vs-align (.*)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        try:
            Parser.of_all_commands().read(shlex.split(line))
        except SystemExit as left:
            assert left.code == 0, line


@pytest.mark.parametrize("command", ["analyse", "preview"])
def test_an_interrupt_is_one_line_and_130(command, files, tmp_path, capsys, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(vs_align, "analyse", interrupted)
    out = tmp_path / "out.mp4"
    arguments = [out] if command == "preview" else ["--json", out.with_suffix(".json")]
    assert run(command, *files[:2], *arguments) == 130
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"vs-align {command}: interrupted.\n")
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}


def test_an_encode_that_is_interrupted_leaves_nothing(files, tmp_path, capsys, monkeypatch):
    def show(console: Console, what: str, done: int, total: int) -> None:
        if what.startswith("encoding") and done == total // 2:
            assert [path.suffix for path in tmp_path.iterdir() if path.is_file()] == [".mp4"]
            raise KeyboardInterrupt

    monkeypatch.setattr(Console, "progress", show)
    assert run("preview", *files[:2], tmp_path / "out.mp4") == 130
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert capsys.readouterr().err == "vs-align preview: interrupted.\n"


def _started(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to all of a console")
def test_ctrl_c_is_heard_while_a_plugin_indexes(files):
    code = """
import signal, sys, time
import vs_align.analysis.video_files as files
from vs_align.cli import main

def index():
    sys.stdout.write("indexing\\n")
    sys.stdout.flush()
    time.sleep(60)

# Who runs the tests in the background may have Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
files._indexed = lambda *_: files._in_thread(index)
sys.exit(main(["info", sys.argv[1]]))
"""
    process = _started(code, files[0])
    assert process.stdout.readline() == "indexing\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "vs-align info: interrupted.\n"
    assert process.returncode == 130
    # Much less than the work would have taken.
    assert time.monotonic() - began < 30


def test_stdout_that_nobody_reads_is_no_fault(files, tmp_path):
    code = "import sys, time; from vs_align.cli import main; time.sleep(1); sys.exit(main(sys.argv[1:]))"
    process = _started(code, "analyse", *files[:2], "--json", tmp_path / "a.json")
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    assert (tmp_path / "a.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_stdout_that_is_full_is_said():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "vs_align", "info"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("vs-align info: the result cannot be written") and done.stderr.count("\n") == 1


def test_a_fault_of_ours_is_raised(files, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(vs_align, "analyse", broken)
    with pytest.raises(ValueError, match="a bug"):
        run("analyse", *files[:2])


# ---------------------------------------------------------------- progress


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Console() as console:
        for n in range(1, 97):
            now[0] += 0.125
            console.progress("comparing", n, 96)
    # 12 s, a line every 5.
    assert capsys.readouterr().err.splitlines() == ["comparing: 41 of 96 (42 %)", "comparing: 81 of 96 (84 %)"]


def test_quiet_shows_no_progress_and_notes_are_for_others(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for level in Level:
        with Console(level) as console:
            console.note("note")
            console.detail("detail")
            for n in range(1, 4):
                now[0] += 10
                console.progress("comparing", n, 3)
        expected = ["note", "detail", "comparing: 2 of 3 (66 %)", "comparing: 3 of 3 (100 %)"]
        shown = {Level.QUIET: [], Level.USUAL: [expected[0], *expected[2:]], Level.VERBOSE: expected}[level]
        assert capsys.readouterr().err.splitlines() == shown


def test_on_a_terminal_bars_are_drawn_and_taken_away(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with Console() as console:
        console.progress("comparing", 1, 3)
        console.note("a note")
        console.progress("comparing", 3, 3)
        console.show("result")
    said = capsys.readouterr()
    assert said.out == "result\n"
    assert "comparing" in said.err and "3/3" in said.err and "a note" in said.err
    # The last thing drawn is an erased line, and the cursor is back.
    assert "\x1b[2K" in said.err.rsplit("3/3", 1)[1] and said.err.count("\x1b[?25h") == 1


# ---------------------------------------------------------------- real footage


@needs_footage
@pytest.mark.parametrize(
    ("clip", "ref", "says"),
    [
        # What the footage's own list says was measured.
        pytest.param(
            "intel_one-by-one-person-detection.mp4",
            "intel_preview_one-by-one-person-detection.gif",
            "230 frames late",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "moviepy_big_buck_bunny_0_30.webm",
            "moviepy_doc_example2.mp4",
            "120 frames late",
            marks=pytest.mark.slow,
        ),
        ("vmaf_Seeking_10_288_375.mp4", "vmaf_Seeking_30_480_1050.mp4", "none; so for 100 %"),
        pytest.param("webrtc_chrome.webm", "webrtc_chrome.mp4", "none; so for", marks=pytest.mark.slow),
    ],
    ids=["gif", "bunny", "vmaf", "chrome"],
)
def test_releases_are_mapped_with_no_options(clip, ref, says, capsys):
    releases = FOOTAGE / "releases"
    assert run("analyse", releases / clip, releases / ref) == 0
    out = capsys.readouterr().out
    assert re.search(rf"^offset +(clip is )?{says}", out, re.MULTILINE), out
    assert len(out.split("segments", 1)[1].splitlines()) == 2, out
