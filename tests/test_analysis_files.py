"""Alignments in files, timecodes, and playing along a path."""

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from helpers import drawn, held, moving, one_line, props, retime

import vs_align
from vs_align.analysis import play
from vs_align.analysis.clip_info import ClipInfo
from vs_align.analysis.geometry import Box, Geometry
from vs_align.analysis.timecodes import timecodes_ms
from vs_align.matching.dtw import dtw

GEOMETRY = Geometry(1.5, 1.25, -3.0, 0.125, Box(2.0, 0.0, 60.5, 48.0))


def made(frame: list[int], clip_length: int = 50, **changes: object) -> vs_align.Alignment:
    """An alignment that says what it is told."""
    count = len(frame)
    infos = [ClipInfo(length, 64, 48, Fraction(24), name) for length, name in ((clip_length, "c"), (count, "r"))]
    score = np.linspace(0, 1, count) / 3
    found = vs_align.Alignment(np.array(frame), score, np.linspace(1, 0, count), *infos, "structure", None)
    return replace(found, **changes)


def same(a: vs_align.Alignment, b: vs_align.Alignment) -> bool:
    arrays = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("frame", "score", "confidence"))
    return arrays and (a.clip, a.ref, a.similarity, a.geometry) == (b.clip, b.ref, b.similarity, b.geometry)


@pytest.fixture(scope="module")
def clips() -> tuple[vs.VideoNode, vs.VideoNode]:
    film = held(drawn(moving(), 40))
    return film[3:], film


# ---------------------------------------------------------------- save and load


@pytest.mark.parametrize("name", ["found.json", "found.csv", "found.CSV", "found"])
@pytest.mark.parametrize("geometry", [None, GEOMETRY])
def test_what_is_saved_is_loaded(tmp_path, name, geometry):
    found = made([-1, 0, 1, 1, 4, -1, 49], geometry=geometry)
    found.score[0] = math.inf
    found.save(tmp_path / name)
    assert same(vs_align.Alignment.load(str(tmp_path / name)), found)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_unknown_rate_stays_unknown(tmp_path):
    found = made([0, 1])
    found = replace(found, clip=replace(found.clip, rate=None))
    found.save(tmp_path / "a.csv")
    assert vs_align.Alignment.load(tmp_path / "a.csv").clip.rate is None


def test_csv_is_readable_as_a_table(tmp_path):
    made([-1, 0, 7]).save(tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0].startswith("# {")
    assert lines[1] == "ref,clip,score,confidence"
    assert [line.split(",")[:2] for line in lines[2:]] == [["0", "-1"], ["1", "0"], ["2", "7"]]


@pytest.mark.parametrize("name", ["a.json", "a.csv"])
def test_the_pair_is_recognised(tmp_path, clips, name):
    clip, ref = clips
    vs_align.analyse(clip, ref).save(tmp_path / name)
    vs_align.Alignment.load(tmp_path / name, clip, ref)
    others = {
        "clip has 36 frames instead of 37": (clip[1:], ref),
        "ref has 41 frames instead of 40": (clip, ref + ref[0]),
        "clip has 66x48 instead of 64x48": (clip.std.AddBorders(2), ref),
        "ref has other pictures": (clip, ref.std.FlipVertical()),
    }
    for says, pair in others.items():
        with pytest.raises(ValueError, match="another pair") as raised:
            vs_align.Alignment.load(tmp_path / name, *pair)
        one_line("vs_align.Alignment.load", raised, says)


@pytest.mark.parametrize("name", ["a.json", "a.csv"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, name):
    path = tmp_path / name
    made(list(range(30)), geometry=GEOMETRY).save(path)
    whole = path.read_bytes()
    # Without JSON's last line break nothing is missing.
    for length in range(len(whole) - 1 if name == "a.csv" else len(whole) - 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError) as raised:
            vs_align.Alignment.load(path)
        one_line("vs_align.Alignment.load", raised, f"{name} is refused: ")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("format", "subtitles", "no alignment"),
        ("version", 2, "version 2; version 1 is understood"),
        ("version", None, "version None"),
        ("clip", [0, 1, 50], "from -1 to 49"),
        ("clip", [0, -2, 1], "from -1 to 49"),
        ("clip", [0, 0.5, 1], "whole numbers"),
        ("clip", [0, 10**400, 1], "clip of ref frame 1 is no number"),
        ("clip", [0, True, 1], "clip of ref frame 1 is no number"),
        ("clip", [5, -1, 4], "never go back"),
        ("clip", [0, 1], "2 values for 3 ref frames"),
        ("clip", "0 1 2", "clip must be a list"),
        ("score", [0, -1, 0], "scores must not be negative"),
        ("score", [0, float("nan"), 0], "score of ref frame 1 is no number"),
        ("score", [0, "x", 0], "score of ref frame 1"),
        ("confidence", [0, 1.5, 0], "0 to 1"),
        ("confidence", [0, None, 0], "confidence of ref frame 1"),
        ("similarity", 3, "similarity must be a name"),
        ("clip_info", {}, "clip_info is incomplete"),
        ("ref_info", None, "ref_info is incomplete"),
        ("geometry", [], "geometry"),
        ("geometry", {"scale_x": 1}, "geometry"),
    ],
)
def test_nonsense_is_refused_with_the_reason(tmp_path, key, value, says):
    path = tmp_path / "a.json"
    made([0, 1, 2]).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ValueError) as raised:
        vs_align.Alignment.load(path)
    one_line("vs_align.Alignment.load", raised, says)


@pytest.mark.parametrize(
    ("field", "value"),
    [("length", 0), ("length", "3"), ("width", -4), ("rate", "0"), ("rate", "1/0"), ("rate", []), ("fingerprint", 1)],
)
def test_nonsense_about_a_clip_is_refused(tmp_path, field, value):
    path = tmp_path / "a.json"
    made([0, 1, 2]).save(path)
    text = json.loads(path.read_text())
    text["ref_info"][field] = value
    path.write_text(json.dumps(text))
    with pytest.raises(ValueError) as raised:
        vs_align.Alignment.load(path)
    one_line("vs_align.Alignment.load", raised, "ref_info")


@pytest.mark.parametrize(
    ("line", "text", "says"),
    [
        (1, "ref,clip", "second line"),
        (3, "7,1,0.1,0.5", "row of ref frame 1"),
        (3, "1,1,0.1", "row of ref frame 1"),
        (3, "1,one,0.1,0.5", "no number"),
        (3, "1,1,nan,0.5", "score of ref frame 1"),
        (3, "1,1,0.1,inf", "confidence of ref frame 1"),
    ],
)
def test_nonsense_in_a_table_is_refused(tmp_path, line, text, says):
    path = tmp_path / "a.csv"
    made([0, 1, 2]).save(path)
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError) as raised:
        vs_align.Alignment.load(path)
    one_line("vs_align.Alignment.load", raised, says)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[1, 2]", b"[" * 100_000, b"# x\n"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        vs_align.Alignment.load(path)
    one_line("vs_align.Alignment.load", raised, "refused")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    made([0, 1, 2]).save(path)
    before = path.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made([0, 1, 3]).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_missing_files_and_paths_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        vs_align.Alignment.load(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError):
        made([0]).save(tmp_path / "none" / "a.json")
    with pytest.raises(TypeError) as raised:
        vs_align.Alignment.load(3)
    one_line("vs_align.Alignment.load", raised, "path must be a path")


# ---------------------------------------------------------------- what follows from a map


def test_frames_without_a_match_show_the_last_match():
    assert made([-1, -1, 4, 5, -1, 9]).shown().tolist() == [4, 4, 4, 5, 5, 9]
    assert made([-1, -1]).shown().tolist() == [0, 0]


def test_nothing_matched_is_no_fault():
    found = made([-1, -1, -1])
    assert (found.offset, found.offset_frames, found.offset_ms, found.audio_delay_ms) == (None,) * 4
    assert (found.drift, found.segments, found.breaks) == (None, [], [])
    with pytest.raises(ValueError) as raised:
        found.timecodes()
    one_line("vs_align.Alignment.timecodes", raised, "no frame is matched")


def test_apply_needs_a_clip_of_clips_length(clips):
    found = vs_align.analyse(*clips)
    with pytest.raises(ValueError) as raised:
        found.apply(clips[1])
    one_line("vs_align.Alignment.apply", raised, "37 frames, not 40")


def test_timecodes_of_a_clip_in_step_are_its_own():
    times, late = timecodes_ms(np.arange(25), 25, 40.0, 40.0)
    np.testing.assert_allclose(times, np.arange(25) * 40.0)
    assert late == 0


def test_timecodes_of_dropped_repeated_and_added_frames():
    # Ref frame 1 is missing from clip, clip's frame 2 is shown twice, clip's frames 3 and 4 are not in ref.
    times, late = timecodes_ms(np.array([0, -1, 1, 2, 2, 5, 6]), 8, 40.0, 40.0)
    third = (200 - 120) / 3
    np.testing.assert_allclose(times, [0, 80, 120, 120 + third, 120 + 2 * third, 200, 240, 280])
    assert late == 0


def test_timecodes_are_moved_where_clip_begins_earlier():
    times, late = timecodes_ms(np.array([3, 4, 5]), 7, 40.0, 50.0)
    assert late == 150.0
    np.testing.assert_allclose(times, [0, 50, 100, 150, 190, 230, 280])


def test_timecodes_never_stand_still():
    times, _ = timecodes_ms(np.array([0, 500]), 501, 0.1, 40.0)
    assert (np.diff(times) > 0).all()
    assert len({f"{t:.6f}" for t in times}) == 501


def test_the_timecodes_file(tmp_path):
    late = made([2, 3, 4], clip_length=5).to_timecodes(tmp_path / "t.txt")
    lines = (tmp_path / "t.txt").read_text().splitlines()
    assert lines[0] == "# timestamp format v2"
    np.testing.assert_allclose([float(line) for line in lines[1:]], np.arange(5) * 1000 / 24, atol=1e-6)
    assert late == pytest.approx(2000 / 24)


# ---------------------------------------------------------------- playing along a path


def test_both_are_played_along_all_steps_of_a_path():
    """The longest path there is: clip goes to its end, then ref to its."""
    clip, ref = held(drawn(moving(), 7)), held(drawn(moving(seed=4), 5))
    cost = np.full((5, 7), 9.0)
    cost[0], cost[:, -1] = 0, 0
    cost[0, -1] = -1
    path = dtw(cost)
    assert len(path) == 11
    played_clip, played_ref = play(clip, ref, path)
    assert played_clip.num_frames == played_ref.num_frames == 11
    assert [frame["AlignFrame"] for frame in props(played_clip)] == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6]
    assert [frame["AlignFrame"] for frame in props(played_ref)] == [0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]
    np.testing.assert_array_equal(np.asarray(played_clip.get_frame(10)[0]), np.asarray(clip.get_frame(6)[0]))
    np.testing.assert_array_equal(np.asarray(played_ref.get_frame(10)[0]), np.asarray(ref.get_frame(4)[0]))


def test_a_path_of_other_clips_is_refused():
    clip = retime(held(drawn(moving(), 7)), range(7))
    path = dtw(np.zeros((5, 9)))
    with pytest.raises(ValueError) as raised:
        play(clip, clip, path)
    one_line("vs_align.analysis.play", raised, "clip does not have: it has 7 frames")
    with pytest.raises(TypeError) as raised:
        play(clip, clip, [0, 1])
    one_line("vs_align.analysis.play", raised, "path must be a Path")
