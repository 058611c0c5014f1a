"""``vs-align flash``: what it prints, what it writes, and what it refuses before any work is done."""

import json
import re

import av
import numpy as np
import pytest
import vapoursynth as vs
from cli_files import run, times_ms
from flash_clips import FLASHES, HEIGHT, LAST, LEFT, RIGHT, WIDTH, film
from flash_scenes import Camera

import vs_align
from vs_align.cli.montage import montage

pytestmark = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")
CAMERAS = {"left": LEFT, "right": RIGHT, "last": LAST}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VS_ALIGN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    return [film(folder / f"{name}.mp4", camera) for name, camera in CAMERAS.items()]


def refused(capsys, says: str) -> None:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("vs-align flash: "), said.err
    assert said.err.count("\n") == 1 and len(said.err) < 400, said.err
    assert re.search(says, said.err), said.err


def decoded(path) -> list[np.ndarray]:
    """The luma of all pictures of a file."""
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]


def test_the_report_says_each_cameras_clock(films, capsys):
    assert run("flash", *films) == 0
    out = capsys.readouterr().out
    parts = out.split("\n\n")
    assert re.match(r"flashes +10 seen by two cameras or more; they last 0\.\d\d ms", parts[0])
    for part, (name, camera) in zip(parts[1:], CAMERAS.items(), strict=True):
        assert part.startswith(f"{name} (base): " if name == "left" else f"{name}: ")
        number = r"([+-]?[\d.]+)"
        offset = float(re.search(rf"time offset +{number} s ", part)[1])
        assert offset == pytest.approx(camera.shift / 1000, abs=3e-4)
        assert float(re.search(rf"\({number} ppm", part)[1]) == pytest.approx(1e6 * (camera.drift - 1), abs=8)
        assert float(re.search(rf"time per row +{number} ms", part)[1]) == pytest.approx(camera.time_per_row, rel=0.01)
        assert float(re.search(rf"exposure +{number} ms", part)[1]) == pytest.approx(camera.exposure, abs=0.1)
        used, seen = map(int, re.search(r"(\d+) used of (\d+) seen", part).groups())
        assert 8 <= used <= seen <= len(FLASHES) + 1
        assert 0 < float(re.search(rf"residual +{number} ms", part)[1]) < 0.1


def test_a_camera_with_a_global_shutter_has_no_time_per_row(films, tmp_path, capsys):
    still = film(tmp_path / "still.mp4", Camera(time_per_row=0.0, exposure=28.0, shift=150.0, seconds=18.5))
    assert run("flash", *films[:2], still, "--global-shutter", "still") == 0
    said = capsys.readouterr()
    part = said.out.split("\n\n")[-1]
    assert re.search(r"time per row +0\.000000 ms", part) and re.search(r"residual +none", part)
    # A flash may be anywhere in what it is open for.
    assert float(re.search(r"time offset +([+-][\d.]+) s", part)[1]) == pytest.approx(0.150, abs=0.014)
    assert "global shutter" in said.err


def test_a_hint_says_where_the_same_flash_is(films, capsys):
    frames = [round((FLASHES[3] - camera.shift) / 1000 * camera.fps) for camera in (LEFT, RIGHT)]
    assert run("flash", *films[:2], "--hint", f"left={frames[0]}", "--hint", f"1={frames[1]}", "-q") == 0
    assert "right: " in capsys.readouterr().out
    assert run("flash", *films[:2], "--hint", f"left={frames[0]}", "--hint", f"right={frames[1] + 300}", "-q") == 2
    refused(capsys, "right")


def test_everything_that_can_be_written_is(films, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("yaml")
    files = [tmp_path / name for name in ("clocks.json", "clocks.yaml", "flashes.png", "all.mp4")]
    options = zip(("--json", "--yaml", "--show-flashes", "--preview"), files, strict=True)
    told = [word for pair in options for word in pair]
    assert run("flash", *films, "--base", "last", *told, "--out-dir", tmp_path / "synced") == 0
    assert re.search(rf"left_synced\.mkv: {len(LAST.stamps)} frames, \d+ of them dropped", capsys.readouterr().err)
    saved = json.loads(files[0].read_text())
    assert saved["base_cam"] == "last"
    loaded = vs_align.FlashSync.load(files[1], films)
    assert loaded.clocks["left"].shift == saved["model"]["left"]["shift"]
    assert files[2].read_bytes()[:4] == b"\x89PNG"
    # One file for each camera, and the grid, of one length and of the base camera's times, which leave out lost frames.
    synced = sorted((tmp_path / "synced").iterdir())
    assert [path.name for path in synced] == ["last_synced.mkv", "left_synced.mkv", "right_synced.mkv"]
    for path in (*synced, files[3]):
        times = np.array(times_ms(path))
        np.testing.assert_allclose(np.diff(times), np.diff(LAST.stamps), atol=1.1)
    shapes = {decoded(path)[0].shape for path in synced}
    assert shapes == {(HEIGHT, WIDTH)}


def test_synchronised_files_show_the_same_flash_in_the_same_frame(films, tmp_path):
    # On the line of the fastest camera every frame of the others appears.
    assert run("flash", *films, "--base", "right", "--out-dir", tmp_path, "-q") == 0
    lit = {}
    for name in CAMERAS:
        level = np.array([picture.max() for picture in decoded(tmp_path / f"{name}_synced.mkv")], float)
        lit[name] = np.flatnonzero(level > 100)
    for time in FLASHES[1:-1]:
        frame = (time - RIGHT.shift) / RIGHT.drift / 1000 * RIGHT.fps
        for name, frames in lit.items():
            if name == "last" and time == FLASHES[4]:
                # Its frames are lost.
                continue
            # 30 ms at most to read a picture, 9 to expose it, 20 to the next one: less than three frames.
            assert np.abs(frames - frame).min() < 3, (name, time)


@pytest.mark.parametrize(("count", "grid"), [(2, (2, 1)), (3, (3, 1)), (5, (3, 2))])
def test_the_montage_has_a_cell_for_each_camera(count, grid, films, tmp_path):
    more = [film(tmp_path / f"more{k}.mp4", camera) for k, camera in enumerate((LEFT, RIGHT))]
    found = vs_align.flash([*films, *more][:count])
    shown = montage(found)
    assert (shown.num_frames, shown.format.id) == (len(LEFT.stamps), vs.YUV420P8)
    assert (shown.width + 8) % grid[0] == 0 and max(shown.width, shown.height) <= 1920
    assert (shown.height + 8) % grid[1] == 0
    cell, high = (shown.width + 8) // grid[0], (shown.height + 8) // grid[1]
    with shown.get_frame(100) as frame:
        luma = np.asarray(frame[0]).astype(float)
    for k in range(count):
        x, y = k % grid[0] * cell, k // grid[0] * high
        strip, picture = luma[y : y + 64, x : x + cell - 8], luma[y + 64 : y + high - 8, x : x + cell - 8]
        assert strip.max() > 180 and np.median(strip) < 20
        assert np.median(picture[:, picture.shape[1] // 2]) > 50


def test_a_dropped_frame_is_marked_and_dark_in_the_montage(films):
    found = vs_align.flash([films[0], films[2]])
    shown, line = montage(found), found.line()
    dropped = found.picks("last", line).dropped
    n = int(np.flatnonzero(dropped[100:])[0]) + 100
    half = shown.width // 2
    levels = []
    for frame in (n - 40, n):
        with shown.get_frame(frame) as f:
            levels.append([float(np.median(np.asarray(f[0])[100:, part])) for part in (slice(half), slice(half, None))])
            orange = np.asarray(f[2])[:32, half // 2 :].max()
        assert (orange > 150) == (frame == n)
    assert levels[1][0] == pytest.approx(levels[0][0], abs=3)
    assert levels[1][1] < 0.8 * levels[0][1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--base", "3"], "base is 3, and there is no such camera; they are left, right, last, 0 to 2"),
        (["--base", "goal"], "base is 'goal'"),
        (["--global-shutter", "goal"], "global-shutter is 'goal'"),
        (["--hint", "left"], "--hint must be a camera and a frame, such as left=120, not 'left'"),
        (["--hint", "goal=3"], "--hint is 'goal'"),
        (["--json", "clocks.txt"], r"clocks\.txt must end in \.json"),
        (["--yaml", "clocks.json"], r"clocks\.json must end in \.yaml or \.yml"),
        (["--show-flashes", "flashes.mp4"], "no ending of a drawing"),
        (["--preview", "all.txt"], "no ending of a video file"),
        (["--out-dir", "there.json"], "there.json is a file; name a folder"),
        (["--json", "there.json"], "is there already; .*--force"),
    ],
)
def test_bad_options_are_refused_before_any_work(arguments, says, films, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("mine")
    monkeypatch.setattr(vs_align, "flash", None)
    assert run("flash", *films, *arguments) == 2
    refused(capsys, says)
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]


def test_bad_files_are_refused(films, tmp_path, capsys):
    text, empty, dark = tmp_path / "text.mp4", tmp_path / "empty.mp4", film(tmp_path / "dark.mp4", RIGHT, [])
    text.write_text("no video\n" * 100)
    empty.write_bytes(b"")
    for files, says in (
        ([films[0]], "two cameras or more are needed, not 1"),
        ([films[0], films[0]], "are the same file"),
        ([films[0], tmp_path / "missing.mp4"], "there is no file .*missing"),
        ([films[0], empty], "is empty"),
        ([films[0], text], "cannot be decoded"),
        ([films[0], tmp_path], "is a folder"),
        ([films[0], dark], r"camera 'dark': no flash found; the strongest .* of 255"),
    ):
        assert run("flash", *files, "-q") == 2
        refused(capsys, says)


def test_an_input_is_never_overwritten(films, capsys):
    assert run("flash", *films, "--preview", films[1], "--force") == 2
    refused(capsys, "is read as well")
