"""``vs-align offset``: one line, the JSON, and what it refuses."""

import json
import re

import numpy as np
import pytest
import vapoursynth as vs
from cli_files import run, scene, write

pytestmark = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VS_ALIGN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder, paint = tmp_path_factory.mktemp("films"), scene()
    late = write(folder / "late.mkv", [paint(300 + n - 6) for n in range(90)])
    good = write(folder / "good.mkv", [paint(300 + n) for n in range(90)])
    return late, good


def refused(capsys, says: str) -> None:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("vs-align offset: "), said.err
    assert said.err.count("\n") == 1 and len(said.err) < 400, said.err
    assert re.search(says, said.err), said.err


def test_one_line_says_offset_and_probability(films, capsys):
    assert run("offset", *films) == 0
    said = capsys.readouterr()
    assert re.fullmatch(r"\+6 frames \(\+0\.250 s\), probability (0\.9\d|1\.00), one passage\n", said.out)
    assert said.err == ""
    assert run("offset", *reversed(films), "--passages", 2, "--length", 45, "-v") == 0
    said = capsys.readouterr()
    assert re.fullmatch(r"-6 frames \(-0\.250 s\), probability \S+, 2 of 2 passages\n", said.out)
    assert re.search(r"ref 0-44: -6 frames, probability 0\.\d\d\n", said.err)


def test_the_rough_offset_and_the_predictor_are_passed_on(films, capsys):
    assert run("offset", *films, "--around", -10, "--predictor", "dtw", "--similarity", "planestats") == 0
    assert capsys.readouterr().out.startswith("+6 frames")


def test_json_holds_all_of_it(films, tmp_path, capsys):
    path = tmp_path / "offset.json"
    assert run("offset", *films, "--json", path) == 0
    read = json.loads(path.read_text(encoding="utf-8"))
    assert read["offset_frames"] == 6 and read["predictor"] == "blend" and len(read["passages"]) == 1
    capsys.readouterr()
    assert run("offset", *films, "--json", path) == 2
    refused(capsys, "is there already; name another file, or pass --force")
    assert run("offset", *films, "--json", path, "--force") == 0


def test_doubt_is_said(tmp_path, capsys):
    still = np.full((72, 96, 3), 90, np.uint8)
    films = [write(tmp_path / f"{name}.mkv", [still] * 60) for name in "ab"]
    assert run("offset", *films) == 0
    said = capsys.readouterr()
    assert "doubtful" in said.err and "vs-align analyse" in said.err
    assert float(re.search(r"probability ([\d.]+)", said.out)[1]) < 0.5


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--around", "soon"], "whole number of frames"),
        (["--around", "4000"], "leaves 0 frames"),
        (["--predictor", "best"], "predictor must be one of"),
        (["--predictor", "missing.safetensors"], "no predictor's file missing.safetensors"),
        (["--similarity", "beauty"], "similarity must be one of"),
        (["--passages", "0"], "at least 1"),
        (["--length", "3"], "length must be at least 8"),
        (["--json", "no/such/folder.json"], "there is no folder"),
    ],
)
def test_bad_input_is_one_line(films, more, says, capsys):
    assert run("offset", *films, *more) == 2
    refused(capsys, says)


def test_missing_files_are_named(films, tmp_path, capsys):
    assert run("offset", films[0], tmp_path / "none.mkv") == 2
    refused(capsys, "there is no file")
