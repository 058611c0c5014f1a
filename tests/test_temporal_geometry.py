"""`temporal` with a geometry, and with a saved alignment in place of a search."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from helpers import Requests, drawn, held, moving, noise, one_line, props, retime, values

import vs_align
from vs_align.analysis import Box, Geometry
from vs_align.filters import temporal as module

LENGTH = 60
# Frames 20 to 29 are missing, 40 is shown twice.
ORDER = [*range(20), *range(30, 41), *range(40, LENGTH)]


@pytest.fixture(scope="module")
def film() -> vs.VideoNode:
    return held(drawn(moving(160, 96, grain=4.0), LENGTH))


@pytest.fixture(scope="module")
def copy(film) -> vs.VideoNode:
    return retime(film, ORDER)


def zoomed(film: vs.VideoNode, width: int = 160, height: int = 96) -> vs.VideoNode:
    return film.resize.Bicubic(width, height, src_left=16, src_top=12, src_width=128, src_height=80)


def zoom(width: int = 160, height: int = 96) -> Geometry:
    return Geometry.between(Box(16, 12, 144, 92), Box(0, 0, width, height))


@pytest.mark.parametrize("similarity", ["structure", "planestats"])
@pytest.mark.parametrize("mode", ["match", "dtw", "offset"])
def test_frames_are_compared_under_the_geometry(film, similarity, mode):
    clip = zoomed(film)[5:]
    synced = vs_align.temporal(clip, film, tr=10, similarity=similarity, mode=mode, geometry=zoom())
    assert values(synced)[5:] == list(range(LENGTH - 5))


def test_sizes_may_differ_and_the_output_is_untouched(film):
    clip = zoomed(film, 80, 48)
    synced = vs_align.temporal(clip, film, tr=4, geometry=zoom(80, 48))
    assert (synced.width, synced.height) == (80, 48)
    for n in (0, 31, LENGTH - 1):
        np.testing.assert_array_equal(np.asarray(synced.get_frame(n)[0]), np.asarray(clip.get_frame(n)[0]))


def test_what_analyse_finds_fits(film):
    clip = zoomed(film)
    found = vs_align.analyse(clip, film)
    synced = vs_align.temporal(clip, film, tr=5, similarity="structure", mode="dtw", geometry=found.geometry)
    assert values(synced) == list(range(LENGTH))


def test_with_an_alignment_nothing_is_compared(film, copy):
    found = vs_align.analyse(copy, film)
    counted = Requests(copy)
    synced = vs_align.temporal(counted.clip, film, tr=None, mode="dtw", alignment=found)
    counted.taken()
    synced.get_frame(50)
    assert counted.taken() == {int(found.frame[50])}
    for n, shown in enumerate(props(synced)):
        if found.frame[n] >= 0:
            expected = (found.frame[n], found.score[n], found.confidence[n])
            assert (shown["AlignFrame"], shown["AlignScore"], shown["AlignConfidence"]) == expected


def test_where_an_alignment_has_no_match_the_fallback_is_shown(film, copy):
    found = vs_align.analyse(copy, film)
    lost = replace(found, frame=np.where(np.isin(np.arange(LENGTH), range(20, 30)), -1, found.frame))
    other = held(drawn(noise(160, 96), LENGTH))
    synced = vs_align.temporal(copy, film, tr=None, mode="dtw", alignment=lost, fallback=other)
    assert values(synced, "AlignFallback") == [int(20 <= n < 30) for n in range(LENGTH)]
    alone = vs_align.temporal(copy, film, tr=None, mode="dtw", alignment=lost)
    assert values(alone)[20:30] == [int(lost.frame[19])] * 10


@pytest.mark.parametrize("ending", ["json", "csv"])
@pytest.mark.parametrize("similarity", ["structure", "planestats"])
def test_a_path_is_saved_and_loaded(film, copy, tmp_path, ending, similarity):
    path = tmp_path / f"pair.{ending}"
    options = {"tr": None, "mode": "dtw", "similarity": similarity, "alignment": path}
    first = vs_align.temporal(copy, film, **options)
    assert not path.exists()
    told = props(first)
    assert path.exists()
    counted = Requests(copy)
    second = vs_align.temporal(counted.clip, film, **options)
    # Those that tell whether it is the same clip.
    assert len(counted.taken()) <= 5
    second.get_frame(50)
    assert len(counted.taken()) == 1
    for before, after in zip(told, props(second), strict=True):
        assert before == pytest.approx(after)
    kept = vs_align.Alignment.load(path, copy, film)
    assert kept.similarity == similarity
    assert kept.frame.tolist() == values(first)


def test_a_path_that_cannot_be_saved_is_told(film, copy, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    synced = vs_align.temporal(copy, film, tr=None, mode="dtw", alignment=folder / "pair.json")
    folder.rmdir()
    with pytest.raises(vs.Error, match=r"vs_align\.temporal: alignment cannot be written to .*pair\.json"):
        synced.get_frame(0)


def alignment_of(clip: vs.VideoNode, ref: vs.VideoNode) -> vs_align.Alignment:
    return vs_align.analyse(clip, ref, geometry=None)


def cut_off(film: vs.VideoNode, copy: vs.VideoNode, folder: Path) -> Path:
    path = folder / "cut.json"
    alignment_of(copy, film).save(path)
    path.write_text(path.read_text()[:-100])
    return path


BAD = {
    "geometry a string": (lambda *_: {"geometry": "auto"}, TypeError, "geometry must be a Geometry"),
    "geometry of others": (
        lambda *_: {"geometry": Geometry(1, 1, 90, 0, Box(0, 0, 160, 96))}, ValueError, "geometry is that of other"
    ),
    "alignment a number": (lambda *_: {"alignment": 3}, TypeError, "alignment must be an Alignment or a path"),
    "alignment and match": (
        lambda film, copy, _: {"alignment": alignment_of(copy, film), "mode": "match", "tr": 5},
        ValueError,
        "alignment is for mode='dtw' with tr=None",
    ),
    "alignment and a window": (
        lambda film, copy, _: {"alignment": alignment_of(copy, film), "tr": 5}, ValueError, "alignment is for"
    ),
    "alignment of others": (
        lambda film, copy, _: {"alignment": alignment_of(film, film)}, ValueError, "it is of another pair, clip has"
    ),
    "alignment cut off": (
        lambda film, copy, folder: {"alignment": cut_off(film, copy, folder)}, ValueError, "cut.json is refused"
    ),
    "alignment a folder": (lambda film, copy, folder: {"alignment": folder}, RuntimeError, "cannot be read"),
    "no such folder": (
        lambda film, copy, folder: {"alignment": folder / "none" / "a.json"}, ValueError, "which is no folder"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_call_gives_one_line(film, copy, tmp_path, case):
    options, error, says = BAD[case]
    with pytest.raises(error) as told:
        vs_align.temporal(copy, film, **{"tr": None, "mode": "dtw"} | options(film, copy, tmp_path))
    one_line("vs_align.temporal", told, says)


def test_formats_must_still_agree(film):
    with pytest.raises(ValueError, match="same format"):
        vs_align.temporal(film.resize.Point(format=vs.GRAY16), film, geometry=zoom())


def test_three_matrices_are_held_where_a_path_is_saved(film, copy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_HELD_BYTES", 2 * 4 * copy.num_frames * LENGTH)
    vs_align.temporal(copy, film, tr=None, mode="dtw")
    with pytest.raises(ValueError, match="give a finite tr"):
        vs_align.temporal(copy, film, tr=None, mode="dtw", alignment=tmp_path / "pair.json")
