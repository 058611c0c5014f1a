"""``vs-align preview`` and ``render``: what is in the files they write, read by PyAV."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import vapoursynth as vs
from cli_files import click, read, read_rgb, run, scene, times_ms, write
from hypothesis import given
from hypothesis import strategies as st

from vs_align import Alignment
from vs_align.cli.console import Console
from vs_align.cli.encode import Encoding, encode
from vs_align.cli.faults import Refusal
from vs_align.cli.pixel_formats import PixelFormat, fitted

pytestmark = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")

LATE = 7
BT2020_PQ_LIMITED = (9, 9, 16, 1)
BT601_FULL = (5, 5, 6, 2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A clip of 10 bits that shows at frame n + 7 what ref shows at n, and its alignment."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VS_ALIGN_CACHE", str(folder / "cache"))
        rate = Fraction(24000, 1001)
        ref = write(folder / "ref.mkv", [scene()(n) for n in range(40)], rate=rate)
        clip = write(
            folder / "clip.mkv",
            [scene((128, 96))(n - LATE) for n in range(47)],
            rate=rate,
            codec="libx264",
            pix_fmt="yuv420p10le",
            colours=BT2020_PQ_LIMITED,
            sample_aspect_ratio=Fraction(4, 3),
        )
        assert run("analyse", clip, ref, "--json", folder / "pair.json", "-q") == 0
    return clip, ref, folder / "pair.json"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VS_ALIGN_CACHE", str(tmp_path / "cache"))


def stream(path):
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        return {
            "codec": video.codec_context.name,
            "format": video.codec_context.pix_fmt,
            "size": (video.width, video.height),
            "rate": video.average_rate,
            "frames": sum(1 for _ in file.decode(video=0)),
            "shape": Fraction(str(video.sample_aspect_ratio or 1)) or Fraction(1),
            "colours": tuple(
                int(getattr(video.codec_context, name))
                for name in ("colorspace", "color_primaries", "color_trc", "color_range")
            ),
        }


# ---------------------------------------------------------------- render


def test_render_without_loss_has_clips_samples_in_refs_order(files, tmp_path):
    clip, ref, pair = files
    assert run("render", clip, ref, tmp_path / "out.mkv", "--alignment", pair, "--codec", "ffv1") == 0
    source, written = read(clip), read(tmp_path / "out.mkv")
    assert len(written) == 40
    assert all(np.array_equal(written[n], source[n + LATE]) for n in range(40))


@pytest.mark.parametrize(
    ("codec", "decoder", "format"),
    [("libx264", "h264", "yuv420p10le"), ("libx265", "hevc", "yuv420p10le"), ("mpeg4", "mpeg4", "yuv420p")],
)
def test_render_keeps_size_rate_depth_and_says_the_colours(codec, decoder, format, files, tmp_path):
    clip, ref, pair = files
    assert run("render", clip, ref, tmp_path / "out.mp4", "--alignment", pair, "--codec", codec) == 0
    assert stream(tmp_path / "out.mp4") == {
        "codec": decoder,
        "format": format,
        "size": (128, 96),
        "rate": Fraction(24000, 1001),
        "frames": 40,
        "shape": Fraction(4, 3),
        "colours": BT2020_PQ_LIMITED,
    }


def test_a_file_that_cannot_say_the_shape_of_its_pixels_is_named(files, tmp_path, capsys):
    clip, ref, pair = files
    assert run("render", clip, ref, tmp_path / "out.mkv", "--alignment", pair, "--codec", "ffv1") == 0
    said = capsys.readouterr().err
    # Either it is in the file, or it is said.
    assert (stream(tmp_path / "out.mkv")["shape"] == Fraction(4, 3)) != ("4:3" in said)


def test_render_of_full_range_stays_full(tmp_path, files):
    full = write(tmp_path / "full.mkv", [scene()(n - LATE) for n in range(47)], colours=BT601_FULL)
    assert run("render", full, files[1], tmp_path / "out.mkv") == 0
    assert stream(tmp_path / "out.mkv")["colours"] == BT601_FULL
    assert np.abs(read(tmp_path / "out.mkv")[9].astype(int) - read(full)[9 + LATE]).mean() < 2


def test_render_at_a_lower_crf_is_nearer_to_clip(files, tmp_path):
    clip, ref, pair = files
    off = []
    for crf in (0, 16, 40):
        out = tmp_path / f"{crf}.mkv"
        assert run("render", clip, ref, out, "--alignment", pair, "--crf", crf, "--preset", "veryfast") == 0
        pairs = zip(read(out), read(clip)[LATE:], strict=True)
        off.append(np.mean([np.abs(a.astype(int) - b).mean() for a, b in pairs]))
    assert off[0] < off[1] < off[2]


def test_render_holds_the_last_match_where_there_is_none(tmp_path):
    pictures = [scene()(n) for n in range(60)]
    other = [scene(seed=9)(n) for n in range(30)]
    ref = write(tmp_path / "ref.mkv", [*pictures, *other])
    clip = write(tmp_path / "clip.mkv", pictures)
    assert run("render", clip, ref, tmp_path / "out.mkv", "--codec", "ffv1") == 0
    written, source = read(tmp_path / "out.mkv"), read(clip)
    assert len(written) == 90
    assert all(np.array_equal(written[n], source[min(n, 59)]) for n in range(90))


def test_render_of_a_variable_rate_shows_frames_when_ref_does(tmp_path):
    times = [40 * n + (400 if n > 20 else 0) for n in range(40)]
    pictures = [scene()(n) for n in range(40)]
    ref = write(tmp_path / "ref.mkv", pictures, rate=25, times=times)
    clip = write(tmp_path / "clip.mkv", pictures, rate=25)
    assert run("render", clip, ref, tmp_path / "out.mkv") == 0
    assert np.allclose(times_ms(tmp_path / "out.mkv"), times, atol=1)


@pytest.mark.parametrize(("whose", "expected"), [("ref", 0.8), ("clip", 1.3 - 7 / 25)])
def test_render_copies_audio_in_step(whose, expected, tmp_path):
    pictures = [scene()(n - LATE) for n in range(57)]
    ref = write(tmp_path / "ref.mkv", pictures[LATE:], rate=25, click_at=0.8)
    clip = write(tmp_path / "clip.mkv", pictures, rate=25, click_at=1.3)
    assert run("render", clip, ref, tmp_path / "out.mkv", "--audio", whose) == 0
    assert click(tmp_path / "out.mkv") == pytest.approx(expected, abs=0.002)


def test_audio_of_a_clip_that_was_cut_is_refused(tmp_path, capsys):
    pictures = [scene()(n) for n in range(90)]
    ref = write(tmp_path / "ref.mkv", pictures, rate=25, click_at=1)
    clip = write(tmp_path / "clip.mkv", [*pictures[:40], *pictures[60:]], rate=25, click_at=1)
    assert run("render", clip, ref, tmp_path / "out.mkv", "--audio", "clip") == 2
    assert "no one delay" in capsys.readouterr().err
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("source", "offered", "taken"),
    [
        (vs.YUV420P8, ["yuv420p", "yuv444p", "yuv420p10le"], "yuv420p"),
        (vs.YUV420P10, ["yuv420p", "yuv444p", "yuv420p10le"], "yuv420p10le"),
        (vs.YUV420P16, ["yuv420p", "yuv420p10le"], "yuv420p10le"),
        (vs.YUV422P10, ["yuv420p10le", "yuv422p", "yuv444p12le"], "yuv444p12le"),
        (vs.YUV444P16, ["yuv420p", "yuv444p"], "yuv444p"),
        (vs.GRAY8, ["yuv420p", "yuv444p"], "yuv420p"),
        (vs.GRAY16, ["gray", "gray16le", "yuv420p16le"], "gray16le"),
        (vs.RGB24, ["bgr0", "gbrp", "yuv444p"], "gbrp"),
        (vs.RGB24, ["yuv420p", "yuv444p", "gray"], "yuv444p"),
        (vs.RGBS, ["yuv420p", "gbrp", "gbrp16le"], "gbrp16le"),
    ],
)
def test_the_format_that_loses_least_is_taken(source, offered, taken):
    clip = vs.core.std.BlankClip(None, 16, 16, source, 1, color=[0.25] * 3 if source == vs.RGBS else None)
    if clip.format.color_family == vs.YUV:
        clip = clip.std.SetFrameProps(_Matrix=1)
    same = fitted(clip, offered)
    assert PixelFormat.of(same.format).name == taken
    assert (same is clip) == (PixelFormat.of(clip.format).name == taken and source != vs.RGBS)
    same.get_frame(0).close()


def test_an_odd_size_that_the_encoder_cannot_take_is_refused():
    odd = vs.core.std.BlankClip(None, 33, 20, vs.RGB24, 1)
    with pytest.raises(Refusal, match=r"33x20.*another --codec"):
        fitted(odd, ["yuv420p"])
    with pytest.raises(Refusal, match="another --codec"):
        fitted(odd, ["pal8"])


@given(st.sampled_from([8, 10, 12, 16]), st.sampled_from(["410", "411", "420", "422", "440", "444"]))
def test_names_of_formats_are_ffmpegs(bits, chroma):
    across, down = {"410": (2, 2), "411": (2, 0), "420": (1, 1), "422": (1, 0), "440": (0, 1), "444": (0, 0)}[chroma]
    fmt = vs.core.query_video_format(vs.YUV, vs.INTEGER, bits, across, down)
    name = PixelFormat.of(fmt).name
    try:
        theirs = av.VideoFormat(name)
    except ValueError:
        # FFmpeg has no such format.
        assert (bits > 8 and chroma in ("410", "411")) or (bits == 16 and chroma == "440")
        return
    assert theirs.components[0].bits == bits
    assert (theirs.chroma_width(64), theirs.chroma_height(64)) == (64 >> across, 64 >> down)


def test_rgb_comes_out_in_its_own_order(tmp_path):
    clip = vs.core.std.BlankClip(None, 64, 48, vs.RGB24, 2, color=[200, 100, 30])
    encode(clip, tmp_path / "out.mkv", Encoding(codec="libx265", crf=1), Console(), "encoding")
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.streams.video[0].codec_context.pix_fmt == "gbrp"
        picture = next(file.decode(video=0)).to_ndarray(format="rgb24")
    shown = picture.reshape(-1, 3).mean(0)
    assert np.abs(shown - [200, 100, 30]).max() < 3


def test_a_clip_that_fails_half_way_leaves_no_file(tmp_path):
    def fail(n, f):
        if n == 20:
            raise RuntimeError("broken frame")
        return f

    blank = vs.core.std.BlankClip(None, 64, 48, vs.YUV420P8, 40, keep=True)
    old = tmp_path / "out.mp4"
    old.write_text("before")
    with pytest.raises(vs.Error, match="broken frame"):
        encode(blank.std.ModifyFrame(blank, fail), old, Encoding(), Console(), "encoding")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert old.read_text() == "before"


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise av.error.OSError(28, "No space left on device", "x")

    monkeypatch.setattr("vs_align.cli.encode._write", full)
    blank = vs.core.std.BlankClip(None, 64, 48, vs.YUV420P8, 4)
    with pytest.raises(Refusal, match=r"out.mp4 cannot be written \(No space left on device\)"):
        encode(blank, tmp_path / "out.mp4", Encoding(), Console(), "encoding")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- preview


def _halves(path, n):
    """Frame n of a preview: the strip of text, and the pictures of ref and clip, RGB."""
    picture = read_rgb(path, "itu709")[n].astype(float)
    strip = picture.shape[0] - 360
    middle = picture.shape[1] // 2
    return picture[:strip], picture[strip:, : middle - 4], picture[strip:, middle + 4 :]


def _enlarged(path, n, size):
    return cv2.resize(read_rgb(path, "itu601")[n], size, interpolation=cv2.INTER_CUBIC).astype(float)


def test_preview_is_a_file_that_every_player_plays(files, tmp_path):
    clip, ref, pair = files
    assert run("preview", clip, ref, tmp_path / "out.mp4", "--alignment", pair) == 0
    found = stream(tmp_path / "out.mp4")
    assert (found["codec"], found["format"], found["rate"], found["frames"]) == (
        "h264",
        "yuv420p",
        Fraction(24000, 1001),
        40,
    )
    assert all(side % 2 == 0 for side in found["size"])
    assert found["colours"] == (1, 1, 1, 1) and found["shape"] == 1
    # The table of contents comes before the frames.
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_preview_shows_ref_on_the_left_and_its_match_on_the_right(tmp_path):
    pictures = [scene()(n) for n in range(50)]
    ref = write(tmp_path / "ref.mkv", pictures[10:], colours=(6, 6, 6, 1))
    clip = write(tmp_path / "clip.mkv", pictures, colours=(6, 6, 6, 1))
    assert run("preview", clip, ref, tmp_path / "out.mp4") == 0
    strip, left, right = _halves(tmp_path / "out.mp4", 5)
    size = left.shape[1], left.shape[0]
    for side, source, n in ((left, ref, 5), (right, clip, 15)):
        off = side - _enlarged(source, n, size)
        assert np.abs(off).mean() < 8 and np.abs(off.mean((0, 1))).max() < 1.5
    assert np.abs(left - _enlarged(ref, 9, size)).mean() > 12
    for side in (strip[:, : size[0]], strip[:, size[0] :]):
        # White letters on black, both there.
        assert side.max() > 200 and (side < 20).mean() > 0.5


def test_preview_darkens_what_has_no_match_and_says_so_in_colour(tmp_path):
    pictures, other = [scene()(n) for n in range(60)], [scene(seed=9)(n) for n in range(30)]
    ref = write(tmp_path / "ref.mkv", [*pictures, *other])
    clip = write(tmp_path / "clip.mkv", pictures)
    pair = tmp_path / "pair.json"
    assert run("analyse", clip, ref, "--json", pair, "-q") == 0
    assert (Alignment.load(pair).frame[60:] == -1).all()
    assert run("preview", clip, ref, tmp_path / "out.mp4", "--alignment", pair) == 0
    (strip, _, right), (strip_before, _, before) = (_halves(tmp_path / "out.mp4", n) for n in (80, 59))
    assert right.mean() == pytest.approx(0.35 * before.mean(), rel=0.1)
    coloured = [float((part[..., 0] - part[..., 2]).max()) for part in (strip, strip_before)]
    assert coloured[0] > 60 > coloured[1]


@pytest.mark.parametrize(
    ("asked", "first", "frames"), [("10:25", 10, 15), ("30:", 30, 10), (":4", 0, 4), ("35:99", 35, 5)]
)
def test_preview_of_a_range(asked, first, frames, files, tmp_path):
    clip, ref, pair = files
    assert run("preview", clip, ref, tmp_path / "out.mp4", "--alignment", pair, "--range", asked) == 0
    assert run("preview", clip, ref, tmp_path / "all.mp4", "--alignment", pair) == 0
    part, whole = read(tmp_path / "out.mp4"), read(tmp_path / "all.mp4")
    assert len(part) == frames
    off = [np.abs(part[0].astype(int) - whole[n]).mean() for n in range(40)]
    assert int(np.argmin(off)) == first


@pytest.mark.parametrize("size", [(33, 65), (17, 12), (200, 20), (2000, 40)])
def test_preview_of_odd_sizes_is_even_and_not_too_wide(size, files, tmp_path):
    odd = write(tmp_path / "odd.mkv", [scene(size)(n) for n in range(40)], pix_fmt="yuv444p")
    assert run("preview", odd, files[1], tmp_path / "out.mp4") == 0
    width, height = stream(tmp_path / "out.mp4")["size"]
    assert width % 2 == height % 2 == 0 and width <= 3850


def test_preview_shows_wide_pixels_wide(tmp_path):
    pictures = [scene()(n) for n in range(30)]
    ref = write(tmp_path / "ref.mkv", pictures)
    wide = write(tmp_path / "wide.mkv", pictures, codec="libx264", sample_aspect_ratio=Fraction(2))
    assert run("preview", wide, ref, tmp_path / "out.mp4") == 0
    # 96x72 at a height of 360 is 480 wide, and twice that with pixels of 2:1; between them 8.
    assert stream(tmp_path / "out.mp4")["size"][0] == 480 + 8 + 960
