"""What the command line refuses: exit code 2, one line on stderr that says what to do, and nothing written."""

import importlib.util
import json
import os
import re
import types

import av
import numpy as np
import pytest
import vapoursynth as vs
from cli_files import run, scene, write

import vs_align
from vs_align.cli import sources
from vs_align.cli.commands import preview, render

pytestmark = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")

NEEDS_RIGHTS = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere; Windows has other rights"
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VS_ALIGN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    pictures = [scene()(n) for n in range(30)]
    good = write(folder / "good.mkv", pictures)
    with av.open(str(folder / "sound.wav"), "w") as file:
        sound = file.add_stream("pcm_s16le", rate=8000, layout="mono")
        part = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        part.sample_rate = 8000
        file.mux(sound.encode(part))
        file.mux(sound.encode(None))
    mp4 = write(folder / "whole.mp4", pictures, codec="mpeg4")
    (folder / "cut.mp4").write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])
    (folder / "empty.mkv").write_bytes(b"")
    (folder / "text.mkv").write_text("no video\n" * 100)
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    (folder / "folder.mkv").mkdir()
    # A track that says what it is, and has no frame.
    with av.open(str(folder / "frameless.mkv"), "w") as file:
        stream = file.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        file.start_encoding()
    return folder, good


def refused(capsys, command: str, says: str) -> None:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"vs-align {command}: "), said.err
    assert said.err.count("\n") == 1 and len(said.err) < 400, said.err
    assert re.search(says, said.err), said.err


BAD_FILES = {
    "missing.mkv": "there is no file .*missing",
    "folder.mkv": "is a folder",
    "empty.mkv": "is empty",
    "text.mkv": "cannot be decoded",
    "noise.mp4": "cannot be decoded",
    "cut.mp4": "cannot be decoded",
    "frameless.mkv": "cannot be decoded",
    "sound.wav": "has no video track",
}


@pytest.mark.parametrize("command", ["analyse", "preview", "render", "info"])
@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_no_video_are_refused(name, command, inputs, tmp_path, capsys):
    folder, good = inputs
    out = [] if command in ("analyse", "info") else [tmp_path / "out.mkv"]
    pairs = [[folder / name]] if command == "info" else [[folder / name, good], [good, folder / name]]
    for pair in pairs:
        assert run(command, *pair, *out) == 2
        refused(capsys, command, BAD_FILES[name])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["preview", "render"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere/out.mkv", "there is no folder .*nowhere"),
        ("folder.mkv", "is a folder"),
        ("there.mkv", "is there already; .*--force"),
        ("out.unknown", "no ending of a video file"),
        ("out", "no ending of a video file"),
        ("out.webm", "cannot hold h264"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_any_work(command, name, says, inputs, tmp_path, capsys, monkeypatch):
    (tmp_path / "folder.mkv").mkdir()
    (tmp_path / "there.mkv").write_text("mine")
    before = sorted(tmp_path.iterdir())
    for module in (preview, render):
        monkeypatch.setattr(module, "open_source", None)
    assert run(command, inputs[1], inputs[1], tmp_path / name) == 2
    refused(capsys, command, says)
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "there.mkv").read_text() == "mine"


@pytest.mark.parametrize("command", ["preview", "render"])
def test_an_input_is_never_overwritten(command, inputs, tmp_path, capsys):
    pair = [write(tmp_path / f"{name}.mkv", [scene()(n) for n in range(30)]) for name in ("clip", "ref")]
    before = [path.read_bytes() for path in pair]
    (tmp_path / "link.mkv").hardlink_to(pair[1])
    for out in (*pair, tmp_path / "link.mkv", tmp_path / "." / "clip.mkv"):
        assert run(command, *pair, out, "--force") == 2
        refused(capsys, command, "is read as well")
    assert [path.read_bytes() for path in pair] == before


def test_one_output_for_two_things_is_refused(inputs, tmp_path, capsys):
    both = tmp_path / "a.csv"
    assert run("analyse", inputs[1], inputs[1], "--csv", both, "--timecodes", both) == 2
    refused(capsys, "analyse", "is named twice")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_ordinary_file_is_never_replaced(inputs, tmp_path, capsys):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    assert run("analyse", inputs[1], inputs[1], "--json", pipe, "--force") == 2
    refused(capsys, "analyse", "no ordinary file")
    assert pipe.is_fifo()


@NEEDS_RIGHTS
def test_a_folder_without_rights_is_refused(inputs, tmp_path, capsys):
    tmp_path.chmod(0o500)
    try:
        assert run("preview", inputs[1], inputs[1], tmp_path / "out.mkv") == 2
        refused(capsys, "preview", "cannot be written")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tr", "0"], "--tr: must be a whole number of at least 1, not '0'"),
        (["--tr", "-3"], "--tr"),
        (["--tr", "1.5"], "--tr: must be a whole number"),
        (["--tr", "99999999999"], "--tr: must be a whole number"),
        (["--clip-rate", "0"], "--clip-rate: must be a frame rate"),
        (["--clip-rate", "1/0"], "--clip-rate: must be a frame rate"),
        (["--ref-rate", "fast"], "--ref-rate: must be a frame rate"),
        (["--ref-rate", "nan"], "--ref-rate: must be a frame rate"),
        (["--ref-rate", "1e400"], "--ref-rate: must be a frame rate"),
        (["--similarity", "psnr"], "invalid choice: 'psnr'"),
        (["--geometry", "warp"], "invalid choice: 'warp'"),
        (["--device", "gpu"], "--device: must be cpu, cuda"),
        (["--json", "a.csv"], "would be CSV"),
        (["--csv", "a.json"], "would be JSON"),
        (["--plot", "a.mp4"], "no ending of a drawing"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["-q", "-v"], "not allowed with"),
    ],
)
def test_bad_options_of_analyse_are_refused(arguments, says, inputs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("analyse", inputs[1], inputs[1], *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("vs-align") and said.count("\n") == 1 and says in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--codec", "nonsense"], "there is no encoder named nonsense"),
        (["--codec", "aac"], "aac encodes no video"),
        (["--codec", "ffv1", "--crf", "5"], "ffv1 knows no crf"),
        (["--crf", "60"], "crf from 0 to 51"),
        (["--crf", "-1"], "--crf"),
        (["--crf", "nan"], "must be a number from 0 to 63"),
        (["--preset", "quick"], "has no preset quick"),
        (["--audio", "ref"], "good.mkv has no audio"),
        (["--audio", "both"], "invalid choice"),
    ],
)
def test_bad_options_of_render_are_refused(arguments, says, inputs, tmp_path, capsys):
    assert run("render", inputs[1], inputs[1], tmp_path / "out.mkv", *arguments) == 2
    refused(capsys, "render", says)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("asked", ["5", "5:5", "9:3", "a:b", "-1:5", ":", "30:40"])
def test_bad_ranges_of_preview_are_refused(asked, inputs, tmp_path, capsys):
    if asked == ":":
        assert run("preview", inputs[1], inputs[1], tmp_path / "out.mkv", "--range", asked) == 0
        return
    assert run("preview", inputs[1], inputs[1], tmp_path / "out.mkv", f"--range={asked}") == 2
    refused(capsys, "preview", "two frame numbers|good.mkv has 30 frames")


@pytest.mark.parametrize("command", ["preview", "render"])
def test_bad_alignments_are_refused_with_the_reason(command, inputs, tmp_path, capsys):
    good = inputs[1]
    pair, out = tmp_path / "pair.json", tmp_path / "out.mkv"
    assert run("analyse", good, good, "--json", pair, "-q") == 0
    capsys.readouterr()
    text = pair.read_text()
    edited = json.loads(text)
    edited["clip"][3] = 1000
    other = write(tmp_path / "other.mkv", [scene(seed=3)(n) for n in range(30)])
    newer = {**json.loads(text), "version": 99}
    for content, clip, says in (
        (text, other, "another pair, clip has other pictures"),
        (text[: len(text) // 2], good, "cut off"),
        (json.dumps(edited), good, "clip frames must be"),
        (json.dumps(newer), good, "version 99"),
        ("hello", good, "no alignment"),
        ("", good, "no alignment"),
    ):
        pair.write_text(content)
        assert run(command, clip, good, out, "--alignment", pair) == 2
        refused(capsys, command, says)
    assert run(command, good, good, out, "--alignment", tmp_path / "missing.json") == 2
    refused(capsys, command, "missing.json cannot be read")
    assert run(command, good, good, out, "--alignment", tmp_path) == 2
    refused(capsys, command, "cannot be read")
    assert not out.exists()


def test_nothing_in_common_is_no_fault_of_analyse_and_nothing_to_render(inputs, tmp_path, capsys, monkeypatch):
    good = inputs[1]

    def nothing(*arguments, **options):
        found = original(*arguments, **options)
        return vs_align.Alignment(
            np.full(30, -1), found.score, 0 * found.confidence, found.clip, found.ref, found.similarity, None
        )

    original = vs_align.analyse
    monkeypatch.setattr(vs_align, "analyse", nothing)
    assert run("analyse", good, good) == 0
    out = capsys.readouterr().out
    assert "matched      0 of 30 ref frames (0 %)" in out and "segments     none" in out
    assert run("analyse", good, good, "--timecodes", tmp_path / "a.txt") == 2
    assert capsys.readouterr().err == "vs-align analyse: no frame is matched.\n"
    assert run("render", good, good, tmp_path / "a.mkv") == 2
    refused(capsys, "render", "nothing to render")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("av", "cli", ["render", "A", "A", "out.mkv"]),
        ("av", "cli", ["preview", "A", "A", "out.mkv"]),
        ("matplotlib", "plot", ["analyse", "A", "A", "--plot", "a.png"]),
        ("matplotlib", "plot", ["analyse", "A", "A", "--plot-costs", "a.png"]),
        ("matplotlib", "plot", ["analyse", "A", "A", "--contact-sheet", "a.png"]),
        ("torch", "topiq", ["analyse", "A", "A", "--similarity", "topiq"]),
    ],
)
def test_a_missing_package_is_one_line_that_names_the_extra(
    package, extra, arguments, inputs, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    original = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else original(name))
    assert run(*(inputs[1] if argument == "A" else argument for argument in arguments)) == 2
    refused(capsys, arguments[0], rf'needs .*{package}.*pip install "vs_align\[{extra}\]"')
    assert list(tmp_path.iterdir()) == []


def test_without_bestsource_the_extra_is_named(inputs, capsys, monkeypatch):
    monkeypatch.setattr(sources, "vs", types.SimpleNamespace(core=object(), Error=vs.Error))
    assert run("info", inputs[1]) == 2
    refused(capsys, "info", r'BestSource; install with: pip install "vs_align\[cli\]"')


def test_a_gpu_that_is_not_there_is_refused(inputs, capsys, monkeypatch):
    monkeypatch.setattr("vs_align.checks.cuda_driver_devices", lambda: 0)
    assert run("analyse", inputs[1], inputs[1], "--device", "cuda") == 2
    refused(capsys, "analyse", "needs an NVIDIA GPU")


def test_an_option_that_is_unknown_is_said_by_the_command(capsys):
    assert run("offset", "a", "b", "--arround", "3") == 2
    refused(capsys, "offset", "unrecognized arguments: --arround 3; see vs-align offset --help")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["analyse"], ["analyse", "one"], ["preview", "a", "b"]])
def test_arguments_that_are_missing_are_one_line(arguments, capsys):
    assert run(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("vs-align") and said.err.count("\n") == 1 and "--help" in said.err
