"""`vs_align.flash`: clocks from clips and files, synchronised clips, files of clocks, and what is refused.

The cameras' clocks are those the recordings were made with; the nearest frame is looked for among all.
"""

import json
import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import vapoursynth as vs
from flash_clips import FLASHES, HEIGHT, LAST, LEFT, RIGHT, clip_of, film, pictures
from flash_scenes import Camera
from helpers import FOOTAGE, needs_footage, one_line

import vs_align
from vs_align.analysis import flash_rows

CAMERAS = {"left": LEFT, "right": RIGHT, "last": LAST}
needs_bs = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VS_ALIGN_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    return [film(folder / f"{name}.mp4", camera) for name, camera in CAMERAS.items()]


@pytest.fixture(scope="module")
def found():
    return vs_align.flash([clip_of(camera) for camera in CAMERAS.values()], names=list(CAMERAS))


def begins(camera: Camera) -> np.ndarray:
    """When the middle row of each frame truly begins, ms."""
    return camera.drift * camera.stamps + camera.shift + camera.time_per_row * HEIGHT / 2


def assert_right(sync: vs_align.FlashSync, base: str = "left") -> None:
    """All clocks are those of the cameras: by what the issue allows for recordings fifteen times as long."""
    ref = CAMERAS[base]
    for name, camera in CAMERAS.items():
        clock = sync.clocks[name]
        middle = 9000.0
        truth = (camera.drift * middle + camera.shift - ref.shift) / ref.drift
        assert clock.ref_ms(middle).item() == pytest.approx(truth, abs=0.1)
        assert clock.drift == pytest.approx(camera.drift / ref.drift, abs=15e-6)
        assert clock.time_per_row == pytest.approx(camera.time_per_row, rel=0.01)
        assert clock.exposure == pytest.approx(camera.exposure, abs=0.1)


@pytest.mark.parametrize("say", ["absolute", "durations"])
def test_clocks_are_found_whatever_says_when_frames_are(say):
    sync = vs_align.flash([clip_of(camera, say=say) for camera in CAMERAS.values()], names=list(CAMERAS))
    assert_right(sync)


def test_frames_without_times_go_by_the_rate():
    pair = {"left": LEFT, "right": RIGHT}
    sync = vs_align.flash([clip_of(camera, say="rate") for camera in pair.values()], names=list(pair))
    np.testing.assert_allclose(sync.times_ms["right"], RIGHT.stamps, atol=1e-9)


@needs_bs
def test_clocks_are_found_in_files_and_files_name_the_cameras(films):
    sync = vs_align.flash([films[0], str(films[1]), films[2]], base="last")
    assert list(sync.clocks) == ["left", "right", "last"] and sync.base == "last"
    assert_right(sync, "last")
    # Lost frames leave a hole in the times of a file.
    np.testing.assert_allclose(sync.times_ms["last"], LAST.stamps, atol=0.02)


def test_events_and_residuals_are_those_of_the_flashes(found):
    for name, camera in CAMERAS.items():
        assert abs(len(found.events[name].sightings) - len(FLASHES)) <= 1, camera
    used = {each.flash for each in found.residuals if each.inlier}
    times = np.array([found.flashes[k].time_ms for k in used])
    assert np.abs(times[:, None] - np.array(FLASHES)).min(axis=1).max() < 0.1
    assert all(abs(each.error_ms) < 0.1 for each in found.residuals)


def test_the_time_of_a_row_and_the_frame_at_it(found):
    truth = RIGHT.drift * RIGHT.stamps[300] + RIGHT.shift + 40 * RIGHT.time_per_row
    assert found.time("right", 300, 40) == pytest.approx(truth, abs=0.2)
    assert found.time(1, 300, 40) == found.time("right", 300, 40)
    for at in (3000.0, 3009.0, 3017.5):
        frame = found.frame_at("right", at)
        nearest = int(np.abs(begins(RIGHT) - at).argmin())
        assert frame.frame == nearest and not frame.dropped
        assert frame.error_ms == pytest.approx(begins(RIGHT)[nearest] - at, abs=0.2)
    # In the middle of three lost frames.
    assert found.frame_at("last", begins(LAST)[199] + 80).dropped
    assert found.frame_at("last", found.time("last", 7, 10), 10).frame == 7


def test_frames_are_the_nearest_of_each_camera(found):
    synced = found.clips()
    assert [clip.num_frames for clip in synced] == [len(LEFT.stamps)] * 3
    rng = np.random.default_rng(0)
    for n in [0, *rng.integers(0, len(LEFT.stamps), 40).tolist(), len(LEFT.stamps) - 1]:
        for clip, camera in zip(synced, CAMERAS.values(), strict=True):
            with clip.get_frame(n) as frame:
                late = begins(camera) - begins(LEFT)[n]
                nearest, props = int(np.abs(late).argmin()), frame.props
                half = 500 / camera.fps
                if abs(abs(late[nearest]) - half) < 0.2:
                    continue
                assert abs(late[props["AlignFrame"]]) < abs(late[nearest]) + 0.2
                assert props["AlignErrorMs"] == pytest.approx(late[props["AlignFrame"]], abs=0.2)
                assert props["AlignDropped"] == (abs(late[nearest]) > half)
                assert "_AbsoluteTime" not in props
                shown = np.asarray(frame[0])
                wanted = pictures(camera)[props["AlignFrame"]] if not props["AlignDropped"] else 0 * shown
                np.testing.assert_array_equal(shown, np.maximum(wanted, 16) if props["AlignDropped"] else wanted)


def test_any_order_gives_the_same_frames(found):
    def seen(numbers):
        clip, taken = found.clips()[1], {}
        for n in numbers:
            with clip.get_frame(n) as frame:
                taken[n] = (frame.props["AlignFrame"], frame.props["AlignErrorMs"], bytes(frame[0]))
        return taken

    numbers = list(range(0, 560, 2))
    assert seen(numbers) == seen(numbers[::-1])


def test_dropped_frames_are_dark_and_can_be_left_out(found):
    dropped = [n for n, at in enumerate(begins(LEFT)) if np.abs(begins(LAST) - at).min() > 20.3]
    assert len(dropped) > 5
    dim = found.clips(dropped="dim")[2]
    bright, dark = (float(np.asarray(dim.get_frame(n)[0]).mean()) for n in (100, dropped[-1]))
    assert dark < 0.7 * bright and dark > 16
    left = found.clips(leave_out=True)
    assert left[0].num_frames <= len(LEFT.stamps) - len(dropped)
    assert not any(left[k].get_frame(n).props["AlignDropped"] for k in range(3) for n in range(0, 300, 7))


def test_a_regular_time_line_has_its_rate(found):
    synced = found.clips("24000/1001")
    assert {(clip.fps_num, clip.fps_den) for clip in synced} == {(24000, 1001)}
    assert {clip.num_frames for clip in synced} == {int((LEFT.stamps[-1]) / 1000 * 24000 / 1001) + 1}
    with synced[1].get_frame(100) as frame:
        assert (frame.props["_DurationNum"], frame.props["_DurationDen"]) == (1001, 24000)
        late = begins(RIGHT) - (begins(LEFT)[0] + 100 * 1001 / 24)
        assert frame.props["AlignFrame"] == np.abs(late).argmin()


def test_a_base_of_varying_rate_keeps_its_durations():
    pair = [clip_of(LAST), clip_of(LEFT)]
    synced = vs_align.flash(pair).clips()
    for n in (198, 199, 200):
        with synced[1].get_frame(n) as frame:
            lasts = frame.props["_DurationNum"] / frame.props["_DurationDen"]
            assert lasts == pytest.approx((LAST.stamps[n + 1] - LAST.stamps[n]) / 1000, rel=1e-3)


@pytest.mark.parametrize("family", ["RGB24", "YUV420P16", "YUV444PS", "GRAYH"])
def test_any_format_is_read_alike(family):
    fmt = getattr(vs, family)
    options = {"matrix": 1} if family.startswith("YUV") else {}
    clips = [clip_of(LEFT).resize.Bicubic(format=fmt, **options), clip_of(RIGHT)]
    sync = vs_align.flash(clips)
    assert sync.clocks["camera1"].shift == pytest.approx(RIGHT.shift, abs=0.3)
    assert sync.clips()[0].format.id == fmt
    with sync.clips(25, dropped="dim")[0].get_frame(5) as frame:
        assert frame.props["AlignDropped"] == 0


def test_high_pictures_are_read_in_pairs_of_rows(monkeypatch):
    plain = vs_align.flash([clip_of(LEFT), clip_of(RIGHT)])
    monkeypatch.setattr(flash_rows, "_MOST_ROWS", 70)
    binned = vs_align.flash([clip_of(LEFT), clip_of(RIGHT)])
    for name in plain.clocks:
        assert binned.clocks[name].time_per_row == pytest.approx(plain.clocks[name].time_per_row, rel=0.01)
        assert binned.clocks[name].shift == pytest.approx(plain.clocks[name].shift, abs=0.2)


# Files, and what is kept of them


@needs_bs
def test_a_second_run_reads_no_frame_and_says_the_same(films, cache, monkeypatch):
    first = vs_align.flash(films)
    assert len(list((cache / "flashes").iterdir())) == 3
    monkeypatch.setattr(flash_rows, "_read", None)
    again = vs_align.flash(films)
    assert again.clocks == first.clocks and again.residuals == first.residuals


@needs_bs
def test_what_is_kept_is_made_anew_where_it_is_damaged_or_of_another_content(films, cache, tmp_path):
    first = vs_align.flash(films)
    kept = sorted((cache / "flashes").iterdir())
    whole = [path.read_bytes() for path in kept]
    for content in (b"", b"no archive", whole[0][: len(whole[0]) // 2], whole[0][:900] + b"\0" * 40 + whole[0][940:]):
        kept[0].write_bytes(content)
        assert vs_align.flash(films).clocks == first.clocks
        assert kept[0].read_bytes() != content
    np.savez(kept[1], rows=np.zeros((3, 3)), times_ms=np.zeros(3))
    assert vs_align.flash(films).clocks == first.clocks
    # Another recording under the name of the first.
    other = film(tmp_path / films[1].name, replace(RIGHT, shift=-250.0))
    assert vs_align.flash([films[0], other]).clocks["right"].shift == pytest.approx(-250, abs=0.3)


@needs_bs
def test_nothing_is_kept_where_that_is_not_wanted_or_not_possible(films, cache, tmp_path, monkeypatch):
    vs_align.flash(films[:2], cache=False)
    assert not (cache / "flashes").exists()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VS_ALIGN_CACHE", str(tmp_path / "file" / "deeper"))
    assert vs_align.flash(films[:2]).clocks["right"].shift == pytest.approx(RIGHT.shift, abs=0.3)


def test_progress_is_told():
    told = []
    vs_align.flash([clip_of(LEFT), clip_of(RIGHT)], progress=lambda *step: told.append(step))
    assert told[0] == ("reading camera0", 1, len(LEFT.stamps))
    assert told[-1] == ("reading camera1", len(RIGHT.stamps), len(RIGHT.stamps))


# Saving and loading


@pytest.mark.parametrize("ending", ["json", "yaml", "yml"])
def test_clocks_are_saved_and_loaded_as_they_are(ending, found, tmp_path):
    if ending != "json":
        pytest.importorskip("yaml")
    path = tmp_path / f"clocks.{ending}"
    found.save(path)
    clips = [clip_of(camera) for camera in CAMERAS.values()]
    loaded = vs_align.FlashSync.load(path, clips, names=list(CAMERAS))
    assert loaded.clocks == found.clocks and loaded.base == found.base
    assert loaded.frame_at("last", 5000.0) == found.frame_at("last", 5000.0)
    assert loaded.clips()[1].get_frame(50).props["AlignFrame"] == found.clips()[1].get_frame(50).props["AlignFrame"]
    assert (loaded.residuals, loaded.warnings, loaded.events) == ((), (), {})
    with pytest.raises(ValueError, match="a file has no flashes"):
        loaded.plot()


def test_the_file_is_the_model_as_other_programs_write_it(found, tmp_path):
    found.save(tmp_path / "clocks.json")
    saved = json.loads((tmp_path / "clocks.json").read_text())
    assert saved["base_cam"] == "left" and set(saved["model"]) == set(CAMERAS)
    assert set(saved["model"]["right"]) == {"drift", "shift", "time_per_row", "exposure"}
    # Of other programs, which know no exposure and say nothing of the recordings.
    plain = {"model": {n: {"drift": 1.0, "shift": 5, "time_per_row": 0.1} for n in "ab"}, "base_cam": "a"}
    (tmp_path / "plain.json").write_text(json.dumps(plain))
    loaded = vs_align.FlashSync.load(tmp_path / "plain.json", [clip_of(LEFT), clip_of(RIGHT)], names=["a", "b"])
    assert loaded.time("b", 0) == 5.0


@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_files_are_refused_with_the_reason(ending, found, tmp_path):
    if ending == "yaml":
        pytest.importorskip("yaml")
    path = tmp_path / f"clocks.{ending}"
    found.save(path)
    text = path.read_text()
    clips, names = [clip_of(camera) for camera in CAMERAS.values()], list(CAMERAS)
    shorter = [clips[0], clips[1], clips[2][:300]]
    cases = [
        (text[: len(text) // 2], clips, names, "cut off"),
        (text[:-2], clips, names, "cut off|base_cam"),
        ("", clips, names, "no model|cut off"),
        (text, clips, ["a", "b", "c"], "of other cameras, left, right, last, not a, b, c"),
        (text, clips[:2], names[:2], "of other cameras"),
        (text, shorter, names, f"other recordings, last has 300 frames instead of {len(LAST.stamps)}"),
        (text, [clips[1], clips[0], clips[2]], names, "other recordings"),
        (
            text.replace('"drift": 1.0,', '"drift": "fast",').replace("drift: 1.0\n", "drift: fast\n"),
            clips,
            names,
            "drift must",
        ),
    ]
    for content, given, called, says in cases:
        path.write_text(content)
        with pytest.raises(ValueError, match=says) as caught:
            vs_align.FlashSync.load(path, given, names=called)
        one_line("vs_align.FlashSync.load", caught, "is refused")


def test_yaml_tags_are_refused_and_run_nothing(tmp_path):
    pytest.importorskip("yaml")
    path, mark = tmp_path / "clocks.yaml", tmp_path / "ran"
    path.write_text(f"model: !!python/object/apply:pathlib.Path.touch ['{mark.as_posix()}']\nbase_cam: a\n")
    with pytest.raises(ValueError, match="it has YAML tags, which are not loaded"):
        vs_align.FlashSync.load(path, [clip_of(LEFT), clip_of(RIGHT)])
    assert not mark.exists()


def test_without_yaml_it_is_said_how_to_install_it(found, tmp_path, monkeypatch):
    monkeypatch.setattr("vs_align.analysis.flash_store.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(RuntimeError, match=r'needs PyYAML; install with: pip install "vs_align\[flash\]"'):
        found.save(tmp_path / "clocks.yaml")
    with pytest.raises(ValueError, match=r"must end in \.json, \.yaml or \.yml"):
        found.save(tmp_path / "clocks.txt")
    assert list(tmp_path.iterdir()) == []


# What is refused


def bad(**given):
    clips = [clip_of(LEFT), clip_of(RIGHT)]
    return {"clips": clips, **given}


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"clips": clip_of(LEFT)}, TypeError, "clips must be a list"),
        ({"clips": "one.mp4"}, TypeError, "clips must be a list"),
        ({"clips": [clip_of(LEFT), 3]}, TypeError, r"clips\[1\] must be a clip or the path of a file, not int"),
        ({"clips": [clip_of(LEFT)]}, ValueError, "two cameras or more are needed, not 1"),
        ({"clips": []}, ValueError, "two cameras or more are needed, not 0"),
        ({"clips": [__file__, __file__]}, ValueError, r"clips\[0\] and clips\[1\] are the same file"),
        ({"clips": ["no/such.mp4", "nor/this.mp4"]}, ValueError, "there is no file no"),
        ({"clips": [LEFT, clip_of(RIGHT)]}, TypeError, "not Camera"),
        ({"names": ["a", "a"]}, ValueError, "names must be 2 different names"),
        ({"names": ["a"]}, ValueError, "names must be 2 different names"),
        ({"names": "ab"}, TypeError, "names must be a list"),
        ({"base": 2}, ValueError, "base is 2, and there is no such camera; they are camera0, camera1, 0 to 1"),
        ({"base": -1}, ValueError, "base is -1"),
        ({"base": "goal"}, ValueError, "base is 'goal'"),
        ({"base": 1.0}, TypeError, "base must be a camera's name or number, not float"),
        ({"global_shutter": ["goal"]}, ValueError, "global_shutter is 'goal'"),
        ({"global_shutter": "camera0"}, TypeError, "global_shutter must be a list"),
        ({"global_shutter": [0, 1]}, ValueError, "rolling shutter"),
        ({"hint": {"goal": 3}}, ValueError, "a camera of hint is 'goal'"),
        ({"hint": {0: -1}}, ValueError, "a frame of hint must be at least 0"),
        ({"hint": {0: 5_000_000}}, ValueError, "hint"),
        ({"hint": 7}, TypeError, "hint must name a frame of each camera"),
        ({"cache": 1}, TypeError, "cache must be True or False"),
        ({"progress": 1}, TypeError, "progress must be a function"),
    ],
)
def test_bad_arguments_are_one_line_each(given, error, says):
    with pytest.raises(error, match=says) as caught:
        vs_align.flash(**bad(**given))
    one_line("vs_align.flash", caught, "")


def test_the_same_clip_twice_is_refused():
    clip = clip_of(LEFT)
    with pytest.raises(ValueError, match="are the same clip"):
        vs_align.flash([clip, clip])


def test_no_flash_says_how_strong_the_strongest_change_was():
    # A lamp that is switched on for good: 10 of 255.
    dark = clip_of(RIGHT, [])
    lamp = dark[:500] + dark[500:].std.Expr("x 10 +")
    with pytest.raises(ValueError, match=r"camera 'right': no flash found; .* is 10\.0 of 255 \(frame 500\)") as caught:
        vs_align.flash([clip_of(LEFT), lamp], names=["left", "right"])
    one_line("vs_align.flash", caught, "")


def test_too_few_common_flashes_are_an_error_that_says_how_many_are_needed():
    clips = [clip_of(LEFT, FLASHES[:3]), clip_of(RIGHT, FLASHES[:3])]
    with pytest.raises(ValueError, match="need") as caught:
        vs_align.flash(clips)
    one_line("vs_align.flash", caught, "need 4")


@needs_bs
def test_a_file_that_is_no_video_is_refused(films, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video\n" * 100)
    with pytest.raises(ValueError, match=r"text\.mp4 cannot be decoded: it is damaged, cut off or no video") as caught:
        vs_align.flash([films[0], text])
    one_line("vs_align.flash", caught, "")


def test_bad_questions_are_refused(found):
    for ask, says in (
        (lambda: found.time("goal", 0), "camera is 'goal'"),
        (lambda: found.time("left", 100_000), "frame must be at most 569"),
        (lambda: found.frame_at("left", float("nan")), "t must be a number"),
        (lambda: found.clips(0), "rate must be a frame rate"),
        (lambda: found.clips(dropped="grey"), "dropped must be one of 'black', 'dim'"),
        (lambda: found.clips(leave_out=1), "leave_out must be True or False"),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            ask()
        one_line(str(caught.value).split(":")[0], caught, says)


def test_importing_the_package_loads_neither_yaml_nor_matplotlib():
    code = "import sys, vs_align; print([m for m in ('yaml', 'matplotlib', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_doubts_are_logged_and_kept(caplog):
    with caplog.at_level(logging.WARNING, "vs_align"):
        sync = vs_align.flash([clip_of(LEFT, FLASHES[:5]), clip_of(RIGHT, FLASHES[:5])])
    assert sync.warnings and [record.getMessage() for record in caplog.records] == list(sync.warnings)


# The chart


def test_the_chart_shows_each_camera_in_its_lane(found, tmp_path):
    pytest.importorskip("matplotlib")
    figure = found.plot(tmp_path / "flashes.png")
    upper, lower = figure.axes
    assert [label.get_text() for label in upper.get_yticklabels()] == ["left (base)", "right", "last"]
    assert lower.get_xlabel() == "time on the clock of left (s)" and lower.get_ylabel().endswith("(ms)")
    points = sum(len(collection.get_offsets()) for collection in lower.collections if collection.get_label() in CAMERAS)
    assert points == sum(each.inlier for each in found.residuals)
    assert (tmp_path / "flashes.png").read_bytes()[:4] == b"\x89PNG"


@needs_footage
@needs_bs
def test_footage_without_flashes_is_refused():
    paths = [FOOTAGE / f"multicam/caliscope_charuco_cam_{k}.mp4" for k in (1, 2)]
    if not all(path.is_file() for path in paths):
        pytest.skip("no footage of several cameras")
    with pytest.raises(ValueError, match="flash") as caught:
        vs_align.flash(paths)
    one_line("vs_align.flash", caught, "")
