"""The pairs that the alignment network is trained on: the same every time, warped as they say, looks within bounds."""

import logging
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("yaml")

from vs_align.train.flow import paint, sources  # noqa: E402
from vs_align.train.flow.config import ConfigError, FlowConfig, from_dict, read  # noqa: E402
from vs_align.train.flow.data import Pairs  # noqa: E402
from vs_align.train.flow.looks import LOOKS, dressed  # noqa: E402
from vs_align.train.flow.sources import Bank, SourceError, banks, fingerprint, shelved  # noqa: E402
from vs_align.train.flow.warps import field  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]
PAINTED = Bank((), 1.0)


def photograph(seed: int, height: int = 160, width: int = 200, grain: int = 8) -> np.ndarray:
    """A random picture, RGB, that is smooth over so many pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (height // grain, width // grain, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def equal(one: dict, other: dict) -> bool:
    return all(torch.equal(one[name], other[name]) for name in ("ref", "clip", "flow", "seen"))


# ---------------------------------------------------------------- pairs


def test_a_pair_depends_on_the_seed_and_its_number_alone():
    pairs = Pairs(PAINTED, 64, 5)
    wanted = [pairs[n] for n in range(12)]
    np.random.seed(3)
    cv2.setRNGSeed(3)
    torch.manual_seed(3)
    assert all(equal(Pairs(PAINTED, 64, 5)[n], wanted[n]) for n in reversed(range(12)))
    assert not any(equal(Pairs(PAINTED, 64, 6)[n], wanted[n]) for n in range(12))
    assert not equal(wanted[0], wanted[1])


def test_a_pair_has_the_shapes_and_ranges_that_it_says():
    for n in range(12):
        pair = Pairs(PAINTED, 96, 1)[n]
        assert {name: tuple(part.shape) for name, part in pair.items()} == {
            "ref": (1, 96, 96),
            "clip": (1, 96, 96),
            "flow": (2, 96, 96),
            "seen": (1, 96, 96),
        }
        assert all(part.dtype == torch.float32 and bool(part.isfinite().all()) for part in pair.values())
        for side in ("ref", "clip"):
            assert 0 <= float(pair[side].min()) <= float(pair[side].max()) <= 255 + 1e-3
        assert set(pair["seen"].unique().tolist()) <= {0.0, 1.0}


def test_clip_sampled_by_the_flow_is_ref():
    pairs = Pairs(Bank(((photograph(1, 300, 300, 30),),), 0.0), 128, 3, looks=())
    moved = 0
    for n in range(16):
        ref, clip, flow, seen = (pairs[n][name].numpy() for name in ("ref", "clip", "flow", "seen"))
        y, x = np.mgrid[:128, :128].astype(np.float32)
        back = cv2.remap(clip[0], x + flow[0], y + flow[1], cv2.INTER_CUBIC)
        counts = seen[0] > 0
        counts[:3] = counts[-3:] = counts[:, :3] = counts[:, -3:] = False
        inside = np.abs(x + flow[0] - 63.5) < 60, np.abs(y + flow[1] - 63.5) < 60
        difference = np.abs(back - ref[0])[counts & inside[0] & inside[1]]
        assert difference.size > 1000
        # Pictures are rounded to whole values and sampled at 1/32 px.
        assert difference.mean() < 1
        moved += np.abs(clip - ref).mean() > 5 * difference.mean()
    assert moved > 8


def test_seen_is_where_the_flow_points_inside():
    y, x = np.mgrid[:64, :64].astype(np.float64)
    outside = np.zeros(4, int)
    for n in range(20):
        flow, seen = (Pairs(PAINTED, 64, 2)[n][name].numpy() for name in ("flow", "seen"))
        beyond = np.stack([-(x + flow[0]), x + flow[0] - 63, -(y + flow[1]), y + flow[1] - 63])
        assert (seen[0][beyond.max(0) < -1e-3] == 1).all()
        assert (seen[0][beyond.max(0) > 1e-3] == 0).all()
        outside += (beyond > 1e-3).sum((1, 2))
    assert outside.min() > 100


def test_fields_are_as_long_as_they_say_and_fold_nothing():
    at = np.arange(-128, 128, dtype=np.float32)
    x, y = np.meshgrid(at, at)
    longest, still = [], 0
    for n in range(300):
        d_x, d_y = field(np.random.default_rng(n), 256).at(x, y)
        longest.append(float(np.hypot(d_x, d_y).mean()))
        still += not d_x.any() and not d_y.any()
        stretch = (1 + np.diff(d_x, axis=1))[:-1] * (1 + np.diff(d_y, axis=0))[:, :-1]
        assert (stretch - np.diff(d_x, axis=0)[:, :-1] * np.diff(d_y, axis=1)[:-1] > 0).all()
    assert 20 < still < 60  # one in eight
    assert np.median(longest) < 10
    assert 20 < max(longest) < 90


def test_painted_pictures_are_drawn_from_the_generator_alone():
    for n in range(12):
        picture = paint.picture(np.random.default_rng(n), 64)
        assert picture.shape == (64, 64, 3)
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, paint.picture(np.random.default_rng(n), 64))


# ---------------------------------------------------------------- looks


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("size", [(64, 96), (96, 64)])
def test_a_look_keeps_shape_and_range_and_draws_from_the_generator_alone(name, size):
    picture = photograph(4, *size).astype(np.float32)
    before, changed = picture.copy(), 0
    for n in range(6):
        np.random.seed(n)
        cv2.setRNGSeed(n)
        out = dressed(picture, np.random.default_rng(n), (name,), 0.0)
        assert out.shape == picture.shape
        assert out.dtype == np.float32
        assert 0 <= out.min() <= out.max() <= 255
        assert np.array_equal(out, np.rint(out))
        changed += float(np.abs(out - np.rint(picture)).max()) > 1
        np.random.seed(77)
        assert np.array_equal(out, dressed(picture, np.random.default_rng(n), (name,), 0.0))
    assert np.array_equal(picture, before)
    assert changed >= 4


def test_all_looks_can_be_drawn_and_some_sides_stay_plain():
    picture = photograph(4, 64, 64).astype(np.float32)
    out = [dressed(picture, np.random.default_rng(n), tuple(LOOKS), 0.5) for n in range(60)]
    assert 15 < sum(side is picture for side in out) < 45
    assert all(dressed(picture, np.random.default_rng(n), (), 0.0) is picture for n in range(5))
    assert all(dressed(picture, np.random.default_rng(n), tuple(LOOKS), 1.0) is picture for n in range(5))


def test_x264_does_not_depend_on_what_the_memory_held_before():
    # glibc fills new memory with this; a coder that reads it before it writes gives another picture.
    code = (
        "import sys, zlib, numpy as np; from vs_align.train.flow import looks, paint\n"
        "for n in range(8):\n"
        "    picture = paint.picture(np.random.default_rng(5 + n % 4), 192).astype(np.float32)\n"
        "    sys.stdout.write(f'{zlib.crc32(looks.x264(picture, np.random.default_rng(n)).tobytes())} ')\n"
    )
    found = set()
    for fill in ("85", "170"):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_PERTURB_": fill}
        found.add(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=env))
    assert len(found) == 1


# ---------------------------------------------------------------- sources


@pytest.fixture
def footage(tmp_path):
    """Six plain pictures, of which two are told to be held out and one unused; a broken one and a note."""
    for name, value in (("a", 10), ("b", 20), ("held_c", 30), ("sub/d", 40), ("held/e", 50), ("waste/f", 60)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((100, 120, 3), value, np.uint8))
    (tmp_path / "broken.png").write_bytes(b"nothing")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    (tmp_path / "note.txt").write_text("no picture")
    return tmp_path


def values(bank: Bank) -> list[int]:
    return sorted(int(picture.flat[0]) for group in bank.real for picture in group)


def test_pictures_that_are_held_out_never_reach_training(footage, caplog):
    config = FlowConfig(photographs=False, painted=0.0, held_out=("held",), unused=("waste",))
    with caplog.at_level(logging.INFO, "vs_align"):
        found = banks(config, footage)
    assert values(found.training) == [10, 20, 40]
    assert values(found.validation) == [30, 50]
    drawn = {int(found.training.draw(np.random.default_rng(n), 64).flat[0]) for n in range(60)}
    assert drawn == {10, 20, 40}
    for name in ("broken.png", "empty.jpg", "broken.mp4"):
        assert any(name in line and "left out" in line and "\n" not in line for line in caplog.messages)


def test_photographs_are_not_validated_with(footage):
    pytest.importorskip("skimage")
    found = banks(FlowConfig(held_out=("held",), unused=("waste",)), footage)
    assert values(found.validation) == [30, 50]
    assert len(found.training.real) > 3


@pytest.mark.parametrize(
    ("config", "says"),
    [({"held_out": ("",)}, "left to train on: correct held_out"), ({"unused": ("",)}, "holds no films or pictures")],
)
def test_footage_without_anything_to_train_on(footage, config, says):
    with pytest.raises(SourceError, match=says):
        banks(FlowConfig(photographs=False, **config), footage)


def test_a_film_gives_frames_spread_over_it(tmp_path):
    import av

    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv444p"
        for n in range(21):
            picture = photograph(1, 96, 128)
            picture[:16, :16] = 12 * n
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        sink.mux(stream.encode(None))
    ((*frames,),) = sources.load([path], 4)
    assert [round(float(frame[4:12, 4:12].mean()) / 12) for frame in frames] == [4, 8, 12, 16]


def test_a_shelved_bank_is_the_same_in_another_process():
    bank = Bank(((photograph(1), photograph(2, 96, 120)), (photograph(3),)), 0.25)
    with shelved(bank) as lent:
        sent = pickle.dumps(lent)
        there = pickle.loads(sent)
        assert len(sent) < 5000
        assert there.painted == 0.25
        assert [len(group) for group in there.real] == [2, 1]
        assert fingerprint(there) == fingerprint(bank)
        for one, other in zip(sum(bank.real, ()), sum(there.real, ()), strict=True):
            assert np.array_equal(one, other)
        del there, one, other
    assert fingerprint(Bank(bank.real[:1], 0.25)) != fingerprint(bank)


# ---------------------------------------------------------------- configurations


@pytest.mark.parametrize("name", ["small", "medium", "full"])
def test_the_configurations_of_the_package_are_read(name):
    config = read(name)
    assert config.held_out
    assert config == from_dict({key: _listed(value) for key, value in config.as_dict().items()}, "x")


def _listed(value):
    if isinstance(value, dict):
        return {key: _listed(part) for key, part in value.items()}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stepz: 3", "unknown key stepz; there are seed, steps"),
        ("net: {widht: 3}", "net: unknown key widht; there are features"),
        ("net: 3", "net must hold keys and values"),
        ("steps: many", "steps must be a number, not 'many'$"),
        ("learning_rate: 5e-4", "must be a number, not '5e-4'; YAML wants a point in it"),
        ("steps: 2.5", "steps must be a whole number"),
        ("steps: true", "steps must be a number"),
        ("steps: -1", "steps must be 0 or more"),
        ("mixed_precision: 1", "must be true or false"),
        ("painted: 1.5", "painted must be from 0 to 1"),
        ("painted: .nan", "painted must be from 0 to 1"),
        ("learning_rate: .nan", "learning_rate must be a finite number, not nan"),
        ("learning_rate: .inf", "learning_rate must be a finite number, not inf"),
        ("learning_rate: 2", "learning_rate must be above 0.*neither above 1"),
        ("weight_decay: -1", "weight_decay 0 or more"),
        ("size: 100", "size must be a multiple of 32 and at most 1024, not 100"),
        ("size: 2048", "size must be a multiple of 32 and at most 1024"),
        ("looks: [ghost, sparkle]", "unknown looks sparkle; there are resampled"),
        ("looks: ghost", "must be a list of words"),
        ("held_out: ['']", "must not be empty"),
        ("net: {updates: [1, 2]}", "four numbers"),
        ("net: {updates: [1, 1, 1, 0]}", "four numbers of 1 and up"),
        ("net: {width: 50}", "multiple of 3"),
        ("- 3", "no keys and values"),
        ("", "no keys and values"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_line(tmp_path, text, says):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_configuration_that_is_not_text(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not YAML"):
        read(path)


def test_a_missing_configuration_names_those_that_there_are(tmp_path):
    for name in ("huge", tmp_path, tmp_path / "run.yaml"):
        with pytest.raises(ConfigError, match=r"no configuration .* one of finish, full, judge, medium, small"):
            read(name)


def test_numbers_keep_their_kind():
    config = from_dict({"learning_rate": 1, "steps": 3, "net": {"updates": [1, 1, 1, 1]}}, "x")
    assert isinstance(config.learning_rate, float)
    assert isinstance(config.steps, int)
    assert config.net.updates == (1, 1, 1, 1)
    assert math.isclose(from_dict({}, "x").painted, FlowConfig().painted)
