"""Plots of an `Alignment`: what is drawn is what was found, whatever the length; files are whole or not there."""

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from helpers import RGB_FORMATS, Requests, converted, drawn, held, moving, one_line

import vs_align
from vs_align.analysis import Box, ClipInfo, Geometry
from vs_align.similarity.structure import structure_picture

pytest.importorskip("matplotlib")

FILM = Fraction(24)
HOUR = 86_400


def alignment(frame, confidence=None, *, clip=None, rates=(FILM, FILM), size=(64, 48), geometry=None):
    """An alignment with a given frame map; ``clip`` is clip's length."""
    frame = np.asarray(frame, np.int64)
    sure = np.full(len(frame), 0.5) if confidence is None else np.asarray(confidence, np.float64)
    infos = [
        ClipInfo(length, *size, rate, "")
        for length, rate in zip((clip or max(1, int(frame.max()) + 1), len(frame)), rates, strict=True)
    ]
    return vs_align.Alignment(
        frame, np.full(len(frame), 0.25), np.where(frame < 0, 0, sure), *infos, "structure", geometry
    )


def cut() -> vs_align.Alignment:
    """Three passages: 100 frames at 0, 30 that clip lacks, 70 at -30, and 100 after 50 inserted ones at +20."""
    return alignment([*range(100), *[-1] * 30, *range(100, 170), *range(220, 320)], clip=320)


def points(axes) -> set[tuple[int, float]]:
    """The matches that are drawn: ref frame and offset."""
    return {
        (int(x), float(y))
        for collection in axes.collections
        if "match" in collection.get_label()
        and hasattr(collection, "get_sizes")
        and collection.get_label() != "no match"
        for x, y in collection.get_offsets()
    }


def drawn_as(axes, label: str):
    return next(artist for artist in axes.collections if artist.get_label() == label)


def texts(axes) -> list[str]:
    return [text.get_text().replace("\N{MINUS SIGN}", "-") for text in axes.texts]


def secondary(axes) -> dict[str, object]:
    """The axes in other units, by their labels."""
    return {child.get_xlabel() or child.get_ylabel(): child for child in axes.child_axes}


def solid(length: int, colour: Callable[[int], tuple[int, int, int]], size=(64, 48)) -> vs.VideoNode:
    """A clip of even pictures, each of its own colour."""
    blank = vs.core.std.BlankClip(None, *size, vs.RGB24, length, keep=True)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane, value in enumerate(colour(n)):
            np.asarray(frame[plane])[:] = value
        return frame

    return blank.std.ModifyFrame(blank, fill)


def pictures(figure) -> list[tuple[int, int, int]]:
    """The mean colours of the pictures on a contact sheet, in reading order of its cells."""
    return [
        tuple(np.round(axes.images[0].get_array().mean((0, 1))).astype(int).tolist())
        for axes in figure.axes
        if axes.images
    ]


# ---------------------------------------------------------------- offset


def test_each_match_is_drawn_at_its_offset():
    figure = cut().plot_offset()
    expected = {(n, 0.0) for n in range(100)} | {(n, -30.0) for n in range(130, 200)}
    assert points(figure.axes[0]) == expected | {(n, 20.0) for n in range(200, 300)}


def test_segments_are_labelled_and_breaks_say_what_happened():
    axes = cut().plot_offset().axes[0]
    assert {"0", "-30", "+20", "30 missing", "50 inserted"} == set(texts(axes))
    lines = drawn_as(axes, "segment and its offset").get_segments()
    assert [line.tolist() for line in lines] == [
        [[-0.5, 0.0], [99.5, 0.0]],
        [[129.5, -30.0], [199.5, -30.0]],
        [[199.5, 20.0], [299.5, 20.0]],
    ]
    assert [line[0][0] for line in drawn_as(axes, "break").get_segments()] == [99.5, 199.5]


def test_frames_without_a_match_are_shaded():
    for axes in cut().plot_offset().axes:
        (bar,) = drawn_as(axes, "no match").get_paths()
        assert (bar.vertices[:, 0].min(), bar.vertices[:, 0].max()) == (99.5, 129.5)


def test_offsets_are_counted_by_the_rate_that_the_matches_have():
    found = alignment(np.round(np.arange(400) * 25 / 24), rates=(Fraction(25), FILM))
    figure = found.plot_offset()
    assert max(abs(offset) for _, offset in points(figure.axes[0])) == pytest.approx(0.5)
    assert "1.04167 clip frames per ref frame" in figure.get_suptitle()


def test_an_hour_is_thinned_out_but_no_short_passage_is_lost():
    n = np.arange(HOUR)
    frame = n + 40 * (n >= 50_000) + 9 * ((n >= 60_000) & (n < 60_012)) - 300 * (n >= 20_000)
    frame[20_000:20_300] = -1
    alone = np.random.default_rng(0).choice(np.arange(70_000, HOUR - 300, 20), 100, replace=False)
    frame[alone] += np.arange(100) % 19 + 1
    # As a map that never goes back has it: what follows holds until it is caught up with.
    frame = np.where(frame < 0, -1, np.maximum.accumulate(frame))
    axes = alignment(frame, clip=HOUR + 100).plot_offset().axes[0]
    spots = points(axes)
    assert len(spots) < 20_000
    assert any(60_000 <= x < 60_012 and y == -251 for x, y in spots)
    # A point across stands for 54 frames.
    for x in alone.tolist():
        assert any(abs(x - other) <= 54 and y == frame[x] - x for other, y in spots)
    assert "-251" in texts(axes)


def test_one_frame_without_a_match_in_an_hour_is_shaded():
    frame = np.arange(HOUR)
    frame[43_210] = -1
    (bar,) = drawn_as(alignment(frame).plot_offset().axes[0], "no match").get_paths()
    assert bar.vertices[:, 0].min() < 43_210 < bar.vertices[:, 0].max()


def test_confidence_keeps_its_extremes_when_it_is_thinned_out():
    sure = np.full(HOUR, 0.5)
    sure[[1234, 70_000]] = 0.01, 0.99
    lower = alignment(np.arange(HOUR), sure).plot_offset().axes[1]
    heights = lower.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.01, 0.99)
    assert len(lower.lines[0].get_xdata()) < 2000


def test_offset_has_times_where_rates_are_known():
    upper = alignment(np.arange(240), rates=(Fraction(25), FILM)).plot_offset().axes[0]
    assert upper.get_ylabel() == "offset (clip frames)"
    others = secondary(upper)
    assert set(others) == {"time in ref (min:s)", "offset (ms of clip's time)"}
    to_time, _ = others["time in ref (min:s)"]._functions
    assert to_time(48) == pytest.approx(2)
    to_ms, _ = others["offset (ms of clip's time)"]._functions
    assert to_ms(1) == pytest.approx(40)
    assert not secondary(alignment(np.arange(240), rates=(None, None)).plot_offset().axes[0])


def test_ticks_are_minutes_and_seconds():
    figure = alignment(np.arange(HOUR)).plot_offset()
    figure.draw_without_rendering()
    labels = [label.get_text() for label in secondary(figure.axes[0])["time in ref (h:min:s)"].get_xticklabels()]
    assert {"0:00", "10:00", "1:00:00"} <= set(labels)


@pytest.mark.parametrize("frame", [[0], [-1], [-1] * 9, [3, 3, 3], [-1, 2]], ids=str)
def test_the_emptiest_alignments_are_drawn(frame, tmp_path):
    found = alignment(frame, clip=5, rates=(None, FILM))
    clip, ref = (solid(length, lambda n: (n, 0, 0)) for length in (5, len(frame)))
    found.plot_offset(tmp_path / "offset.png")
    found.plot_costs(clip, ref, tmp_path / "costs.png")
    found.plot_pairs(clip, ref, tmp_path / "pairs.png")
    assert len(list(tmp_path.iterdir())) == 3


# ---------------------------------------------------------------- costs


def test_distances_are_the_mean_difference_of_the_small_pictures():
    # As small as the features are, so that nothing is resampled.
    scene = drawn(moving(40, 22), 12)
    found = alignment(np.arange(9), clip=12, size=(40, 22))
    matrix = np.asarray(found.plot_costs(scene, scene[:9]).axes[0].images[0].get_array()).T
    small = [structure_picture(np.asarray(scene.get_frame(n)[0]).astype(np.float32)) for n in range(12)]
    expected = [[np.abs(a.astype(float) - b).mean() / 42 for b in small] for a in small[:9]]
    np.testing.assert_allclose(matrix, expected, rtol=1e-12)
    assert not matrix.diagonal().any()


def test_the_path_is_drawn_over_the_distances():
    found = cut()
    scene = solid(320, lambda n: (n % 256, 0, 0))
    axes = found.plot_costs(scene, scene[:300]).axes[0]
    assert axes.images[0].get_extent() == [-0.5, 299.5, -0.5, 319.5]
    path = axes.lines[0].get_ydata()
    np.testing.assert_array_equal(path[found.frame >= 0], found.frame[found.frame >= 0])
    assert np.isnan(path[100:130]).all()
    ends = [line.tolist() for line in drawn_as(axes, "segment and its offset").get_segments()]
    assert ends == [[[0, 0], [99, 99]], [[130, 100], [199, 169]], [[200, 220], [299, 319]]]
    assert {"0", "-30", "+20"} <= set(texts(axes))


def test_costs_are_labelled_with_units():
    scene = solid(50, lambda n: (n, 0, 0))
    figure = alignment(np.arange(50)).plot_costs(scene, scene)
    axes, bar = figure.axes[0], figure.axes[1]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("ref frame", "clip frame")
    assert set(secondary(axes)) == {"time in ref (min:s)", "time in clip (min:s)"}
    assert bar.get_ylabel() == "distance of two frames\n(mean difference, local deviations)"


def test_long_clips_are_sampled_evenly_and_in_order():
    clip, ref = (Requests(vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, length)) for length in (5000, 1800))
    found = alignment(np.arange(1800), clip=5000)
    figure = found.plot_costs(clip.clip, ref.clip)
    assert figure.axes[0].images[0].get_array().shape == (600, 600)
    assert sorted(ref.taken()) == list(range(1, 1800, 3))
    of_clip = np.array(sorted(clip.taken()))
    assert len(of_clip) == 600
    assert set(np.diff(of_clip).tolist()) == {8, 9}
    assert "600 and 600 of them compared" in figure.get_suptitle()


def test_costs_are_of_the_pictures_under_the_geometry():
    ref = held(drawn(moving(320, 180, seed=3), 20))
    clip = ref.std.Crop(32, 32, 18, 18).resize.Bicubic(320, 180)
    crop = Geometry(1.25, 1.25, -40.0, -22.5, Box(32.0, 18.0, 288.0, 162.0))
    means = []
    for geometry in (crop, None):
        found = alignment(np.arange(20), size=(320, 180), geometry=geometry)
        means.append(np.asarray(found.plot_costs(clip, ref).axes[0].images[0].get_array()).diagonal().mean())
    assert means[0] < 0.2 * means[1]


# ---------------------------------------------------------------- pairs


def red_and_blue() -> tuple[vs.VideoNode, vs.VideoNode]:
    """Clip and ref of `cut`, whose colours say their frame numbers."""
    return solid(320, lambda n: (n % 256, n // 256, 0)), solid(300, lambda n: (n % 256, n // 256, 255))


def test_the_pairs_are_the_frames_that_they_are_said_to_be():
    found = cut()
    clip, ref = red_and_blue()
    figure = found.plot_pairs(clip, ref, pairs=15)
    said = [text.get_text() for text in figure.texts]
    of_ref = [int(text.split(",")[0].split()[1]) for text in said if text.startswith("ref ")]
    of_clip = [int(text.split(",")[0].split()[1]) for text in said if text.startswith("clip ")]
    assert len(of_ref) == 15
    assert of_ref == sorted(set(of_ref))
    assert of_clip == [int(m) for m in found.frame[of_ref] if m >= 0]
    shown = pictures(figure)
    assert [(red + 256 * green) for red, green, blue in shown if blue == 255] == of_ref
    assert [(red + 256 * green) for red, green, blue in shown if blue == 0] == of_clip


def test_pairs_say_time_score_and_confidence():
    clip, ref = red_and_blue()
    said = {text.get_text() for text in cut().plot_pairs(clip, ref).texts}
    assert {"ref 199, 0:08.29", "clip 169, 0:07.04\nscore 0.25, confidence 0.50"} <= said


@pytest.mark.parametrize("pairs", [1, 5, 12])
def test_both_sides_of_each_break_and_what_is_missing_are_shown(pairs):
    clip, ref = red_and_blue()
    figure = cut().plot_pairs(clip, ref, pairs=pairs)
    said = [text.get_text() for text in figure.texts]
    of_ref = {int(text.split(",")[0].split()[1]) for text in said if text.startswith("ref ")}
    assert {99, 130, 199, 200} <= of_ref
    missing = [axes for axes in figure.axes if texts(axes) == ["no match"]]
    assert len(missing) == len(of_ref & set(range(100, 130))) > 0


def test_pairs_are_spread_over_the_whole_length():
    clip = solid(200, lambda n: (n, 0, 0))
    figure = alignment(np.arange(200)).plot_pairs(clip, clip, pairs=5)
    of_ref = [int(t.get_text().split(",")[0][4:]) for t in figure.texts if t.get_text().startswith("ref ")]
    assert (len(of_ref), of_ref[0], of_ref[-1]) == (5, 0, 199)
    assert max(abs(step - 50) for step in np.diff(of_ref)) <= 2


def test_a_short_segment_among_much_that_has_no_match_is_shown():
    frame = np.full(5000, -1)
    frame[4100:4130] = np.arange(30)
    clip, ref = (vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, length) for length in (30, 5000))
    for pairs in (1, 12):
        figure = alignment(frame).plot_pairs(clip, ref, pairs=pairs)
        matched = sum(text.get_text().startswith("clip ") for text in figure.texts)
        assert matched >= pairs / 2


@pytest.mark.parametrize("pairs", [1, 3, 7])
def test_there_are_as_many_pairs_as_asked_for_or_frames(pairs):
    clip = solid(5, lambda n: (n, 0, 0))
    figure = alignment(np.arange(5)).plot_pairs(clip, clip, pairs=pairs)
    assert len(pictures(figure)) == 2 * min(pairs, 5)


def test_a_hundred_breaks_are_not_too_many():
    n = np.arange(6000)
    frame = n + 7 * (n // 50)
    clip, ref = (vs.core.std.BlankClip(None, 64, 48, vs.GRAY8, length) for length in (int(frame.max()) + 1, 6000))
    found = alignment(frame)
    assert len(found.breaks) > 100
    assert 24 <= len(pictures(found.plot_pairs(clip, ref))) <= 240


@pytest.mark.parametrize(("matrix", "height", "told"), [(1, 48, True), (6, 48, True), (6, 48, False), (1, 720, False)])
def test_colours_are_those_of_the_frames_own_matrix(matrix, height, told):
    red = vs.core.std.BlankClip(None, 96, height, vs.RGB24, 3, color=[200, 30, 60])
    clip = red.resize.Bicubic(format=vs.YUV444P8, matrix=matrix)
    if not told:
        clip = clip.std.RemoveFrameProps("_Matrix")
    figure = alignment(np.arange(3), size=(96, height)).plot_pairs(clip, clip, pairs=1)
    for colour in pictures(figure):
        np.testing.assert_allclose(colour, (200, 30, 60), atol=3)


FORMATS = {**RGB_FORMATS, "grey": vs.GRAY8, "grey float": vs.GRAYS, "420": vs.YUV420P8, "422 10": vs.YUV422P10}


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_any_format_is_drawn(format):
    clip = held(drawn(moving(64, 48), 6))
    found = alignment(np.arange(6))
    node = converted(clip, format)
    assert np.asarray(found.plot_costs(node, clip).axes[0].images[0].get_array()).diagonal().max() < 0.1
    assert len(pictures(found.plot_pairs(node, clip, pairs=2))) == 4


def test_frames_that_say_they_are_interlaced_are_drawn():
    clip = vs.core.std.BlankClip(None, 64, 45, vs.RGB24, 3, color=[9, 99, 199]).std.SetFieldBased(1)
    figure = alignment(np.arange(3), size=(64, 45)).plot_pairs(clip, clip, pairs=1)
    assert pictures(figure) == [(9, 99, 199)] * 2


def test_tall_and_wide_pictures_keep_their_shape():
    for size in ((20, 200), (200, 20), (64, 48)):
        clip = solid(2, lambda n: (0, 0, 0), size)
        for axes in alignment(np.arange(2), size=size).plot_pairs(clip, clip).axes:
            height, width = axes.images[0].get_array().shape[:2]
            assert width / height == pytest.approx(size[0] / size[1], rel=0.06)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("ending", "begins"), [("png", b"\x89PNG"), ("PNG", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_a_file_is_of_the_kind_that_its_name_says(tmp_path, ending, begins):
    path = tmp_path / f"a plot.{ending}"
    figure = cut().plot_offset(path)
    assert path.read_bytes().startswith(begins)
    assert type(figure).__module__ == "matplotlib.figure"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_alignment_gives_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        cut().plot_offset(str(tmp_path / name))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_figure_shows_itself_in_a_notebook():
    assert cut().plot_offset()._repr_png_().startswith(b"\x89PNG")


def test_what_was_there_stays_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "plot.png"
    path.write_text("before")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        cut().plot_offset(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("plot.jpg", "path must end in .png, .svg or .pdf, not in 'plot.jpg'"),
        ("plot", "path must end in"),
        ("none/plot.png", r"cannot be written \(.+\); name another file"),
        ("folder.png", "is a folder; name a file in it"),
        ("nul\0.png", "cannot be written"),
    ],
)
@pytest.mark.parametrize("plot", ["plot_offset", "plot_costs", "plot_pairs"])
def test_a_file_that_cannot_be_is_refused_before_any_work(tmp_path, plot, name, says):
    (tmp_path / "folder.png").mkdir()
    clip = Requests(solid(320, lambda n: (0, 0, 0)))
    clips = [] if plot == "plot_offset" else [clip.clip, clip.clip[:300]]
    with pytest.raises(ValueError) as error:
        getattr(cut(), plot)(*clips, path=tmp_path / name)
    one_line(f"vs_align.Alignment.{plot}", error, says)
    assert not clip.taken()
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize("plot", ["plot_costs", "plot_pairs"])
def test_clips_of_another_length_are_refused(plot):
    clip = solid(320, lambda n: (0, 0, 0))
    for clips, says in (
        ((clip[1:], clip[:300]), "clip must have 320 frames"),
        ((clip, clip), "ref must have 300 frames"),
    ):
        with pytest.raises(ValueError) as error:
            getattr(cut(), plot)(*clips)
        one_line(f"vs_align.Alignment.{plot}", error, says)
    with pytest.raises(TypeError) as error:
        getattr(cut(), plot)(None, clip)
    one_line(f"vs_align.Alignment.{plot}", error, "clip must be a VapourSynth video clip")


def test_costs_of_another_size_are_refused():
    clip = solid(320, lambda n: (0, 0, 0), (32, 48))
    with pytest.raises(ValueError) as error:
        cut().plot_costs(clip, solid(300, lambda n: (0, 0, 0)))
    one_line("vs_align.Alignment.plot_costs", error, "clip must be 64x48, as analysed, not 32x48")


@pytest.mark.parametrize(("pairs", "kind"), [(0, ValueError), (121, ValueError), (2.5, TypeError), (True, TypeError)])
def test_numbers_of_pairs_that_cannot_be_are_refused(pairs, kind):
    clip, ref = red_and_blue()
    with pytest.raises(kind) as error:
        cut().plot_pairs(clip, ref, pairs=pairs)
    one_line("vs_align.Alignment.plot_pairs", error, "pairs must be")


def test_a_path_must_be_one():
    with pytest.raises(TypeError) as error:
        cut().plot_offset(3)
    one_line("vs_align.Alignment.plot_offset", error, "path must be a path or None, not int")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    find = vs_align.checks.importlib.util.find_spec
    monkeypatch.setattr(
        vs_align.checks.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    with pytest.raises(RuntimeError) as error:
        cut().plot_offset()
    one_line("vs_align.Alignment.plot_offset", error, r'pip install "vs_align\[plot\]"')


def test_matplotlib_is_imported_when_a_plot_is_drawn_and_pyplot_never():
    script = (
        "import sys, numpy, vs_align\n"
        "from vs_align.analysis import ClipInfo\n"
        "assert 'matplotlib' not in sys.modules\n"
        "info = ClipInfo(5, 8, 8, None, '')\n"
        "ones = numpy.ones(5)\n"
        "vs_align.Alignment(numpy.arange(5), ones, ones, info, info, 'structure', None).plot_offset()._repr_png_()\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
