"""Training predictors of an offset: made pairs, the fits of scikit-learn, configurations and what is refused."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

av = pytest.importorskip("av")
pytest.importorskip("sklearn")

from vs_align.analysis.offset_predictors import TrainedPredictor  # noqa: E402
from vs_align.matching.offsets import REACH, Sight  # noqa: E402
from vs_align.train.configs import ConfigError, from_dict, read  # noqa: E402
from vs_align.train.offset.config import CONFIGS, OffsetConfig  # noqa: E402
from vs_align.train.offset.evidence import _choice_loss, fit_evidence  # noqa: E402
from vs_align.train.offset.fitting import fit  # noqa: E402
from vs_align.train.offset.scenes import Material, Pair, SourceError, films, material, pairs  # noqa: E402
from vs_align.train.offset.scoring import CHANCE, errors, margin  # noqa: E402
from vs_align.train.offset.views import Difficulty, view  # noqa: E402

LENGTH = 40


def scene(count: int, seed: int = 0) -> list[np.ndarray]:
    """Grey pictures of a texture that drifts to and fro, with a light that changes."""
    rng = np.random.default_rng(seed)
    land = cv2.GaussianBlur(rng.standard_normal((200, 260)).astype(np.float32), (0, 0), 3)
    land = 128 + 45 * land / land.std()
    place, light = rng.standard_normal((2, count)).cumsum(1)
    place = (place * 2).round().astype(int)
    return [
        np.clip(np.roll(land, place[n], 1)[:48, :64] + 4 * light[n], 0, 255).astype(np.uint8) for n in range(count)
    ]


def walks(seed: int, strangers: bool = False) -> Material:
    """Two views as features of a walk: no pictures, so that fits are quick."""
    rng = np.random.default_rng(seed)
    count = LENGTH + REACH
    walk, light = rng.standard_normal((count, 12)).cumsum(0), 100 + 5 * rng.standard_normal((count, 8, 12)).cumsum(0)
    ref, clip = (walk + 0.8 * rng.standard_normal(walk.shape) for _ in range(2))
    other = light
    if strangers:
        clip, other = clip[::-1], light[::-1]
    distances = np.sqrt(((ref[:, None] - clip[None]) ** 2).sum(2))
    return Material(f"film{seed}", 0, Difficulty.RELEASE, strangers, Sight(distances, light, other))


@pytest.fixture(scope="module")
def cut() -> tuple[list[Pair], list[Pair]]:
    return tuple(
        list(pairs([walks(seed, seed % 5 == 4) for seed in range(first, first + 30)], LENGTH, 10, first))
        for first in (0, 100)
    )


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_pairs_have_the_offset_that_they_say_and_one_length(seed):
    count = LENGTH + REACH
    numbers = np.arange(count, dtype=float)
    # The distance of two frames is how far apart they are.
    made = Material("film", 0, Difficulty.WORN, False, Sight(
        np.abs(numbers[:, None] - numbers[None]), np.zeros((count, 8, 12)) + numbers[:, None, None],
        np.zeros((count, 8, 12)) + numbers[:, None, None],
    ))  # fmt: skip
    for pair in pairs([made], LENGTH, 5, seed):
        assert pair.sight.distances.shape == (LENGTH, LENGTH)
        assert -REACH <= pair.offset <= REACH
        row = max(0, -pair.offset)
        assert pair.sight.distances[row, row + pair.offset] == 0
        assert pair.sight.ref_light[row, 0, 0] == pair.sight.clip_light[row + pair.offset, 0, 0]


def test_offsets_of_pairs_are_uniform():
    made = walks(0)
    offsets = [pair.offset for pair in pairs([made], LENGTH, 6100, 0)]
    counts = np.bincount(np.array(offsets) + REACH, minlength=61)
    assert counts.min() > 60 and counts.max() < 145
    assert np.mean(np.abs(offsets)) == pytest.approx(CHANCE, abs=0.6)
    assert sum(abs(k) for k in range(-REACH, REACH + 1)) / 61 == CHANCE


@pytest.mark.parametrize("difficulty", list(Difficulty))
def test_views_show_the_scene_and_are_the_same_each_time(difficulty):
    pictures = scene(12)
    first, again, other = (view(pictures, difficulty, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert {(p.shape, p.dtype) for p in first} == {((48, 64), np.dtype(np.uint8))}
    if difficulty is Difficulty.RELEASE:
        alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, pictures, strict=True)]
        assert min(alike) > 0.9


def test_the_gradient_of_the_evidence_is_right():
    rng = np.random.default_rng(0)
    profiles, truth = rng.standard_normal((9, 3, 61)), rng.integers(0, 62, 9)
    at = np.array([0.5, 0.2, 0.9, 1.3])
    _, slope = _choice_loss(at, profiles, truth)
    for k in range(4):
        step = 1e-6 * np.eye(4)[k]
        numeric = (_choice_loss(at + step, profiles, truth)[0] - _choice_loss(at - step, profiles, truth)[0]) / 2e-6
        assert slope[k] == pytest.approx(numeric, abs=1e-6)


def test_evidence_finds_offsets_and_says_how_sure_it_is(cut):
    evidence = fit_evidence(*cut)
    assert min(evidence.weights) >= 0 and sum(evidence.weights) > 0.5
    held = cut[1]
    known = [pair for pair in held if pair.offset is not None]
    assert np.mean(errors(evidence.blend, known)) < 1.5
    said = [evidence.probability(pair.sight, evidence.blend(pair.sight)) for pair in held]
    right = [pair.offset is not None and abs(evidence.blend(pair.sight) - pair.offset) <= 1 for pair in held]
    assert np.mean(said) == pytest.approx(np.mean(right), abs=0.05)
    strangers = [p for p, pair in zip(said, held, strict=True) if pair.offset is None]
    assert np.mean(strangers) < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["logistic", "svm", "mlp"])
def test_each_fit_learns_and_its_file_says_the_same(kind, cut, tmp_path):
    config = OffsetConfig(kind=kind, length=LENGTH, side=48, layers=(64, 32), epochs=8, strengths=(0.1, 10.0))
    made = fit(config, *cut, fit_evidence(*cut))
    known = [pair for pair in cut[1] if pair.offset is not None]
    # Answering 0 is 15.2 off.
    assert np.mean(errors(made.offset, known)) < 11
    made.save(tmp_path / "offset.safetensors")
    loaded = TrainedPredictor.load(tmp_path / "offset.safetensors")
    assert [loaded.offset(pair.sight) for pair in known[:20]] == [made.offset(pair.sight) for pair in known[:20]]


@pytest.mark.slow
def test_what_numpy_says_is_what_scikit_learn_says(cut):
    from sklearn.linear_model import LogisticRegression

    from vs_align.matching.offsets import similarity_matrix

    config = OffsetConfig(kind="logistic", length=LENGTH, side=48, strengths=(1.0,))
    known = [pair for pair in cut[0] if pair.offset is not None]
    made = fit(config, known, known, fit_evidence(*cut))
    read = np.array([similarity_matrix(pair.sight.distances).ravel() for pair in known], np.float32)
    read = (read - read.mean(0)) * np.float32(LENGTH)
    model = LogisticRegression(C=1.0, max_iter=200).fit(read, [pair.offset for pair in known])
    assert np.mean(model.predict(read) == [made.offset(pair.sight) for pair in known]) > 0.99


def test_the_margin_draws_whole_scenes():
    # Two scenes of 0 and 10: means are 0, 5 or 10, however many values there are.
    values, groups = np.repeat([0.0, 10.0], 500), np.repeat(["a", "b"], 500)
    assert margin(values, groups) == (0.0, 10.0)
    rng = np.random.default_rng(0)
    low, high = margin(rng.standard_normal(400), range(400))
    assert low == pytest.approx(-1.96 / 20, abs=0.05) and high == pytest.approx(1.96 / 20, abs=0.05)


def write(path: Path, pictures: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        for picture in pictures:
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "gray")))
        sink.mux(stream.encode(None))


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    for n, name in enumerate(("one", "two", "three", "held_a", "held_b")):
        write(folder / f"{name}.mkv", scene(150, n))
    (folder / "readme.txt").write_text("no film")
    return folder


def test_films_become_compared_views(footage, caplog):
    config = OffsetConfig(length=LENGTH, side=48)
    write(footage / "short.mkv", scene(20))
    (footage / "broken.mkv").write_bytes(b"this is no film")
    try:
        made = list(material(films(footage, (), ("held",)), config, (Difficulty.RELEASE, Difficulty.CAMERA)))
    finally:
        (footage / "short.mkv").unlink()
        (footage / "broken.mkv").unlink()
    assert "short.mkv has fewer than 70 frames" in caplog.text
    assert "broken.mkv cannot be read further than frame 0" in caplog.text
    mates = [each for each in made if not each.strangers]
    scenes = {(each.film, each.scene) for each in mates}
    assert scenes == {(f"{name}.mkv", k) for name in ("one", "two", "three") for k in (0, 1)}
    assert len(mates) == 12 and len(made) == 12 + 5
    assert {each.sight.distances.shape for each in made} == {(70, 70)}
    # Frame n of one view is frame n of the other.
    near = [np.median(each.sight.distances.argmin(1) - np.arange(70)) for each in mates if each.difficulty == "release"]
    assert near == [0] * 6


def test_scenes_of_one_film_are_never_in_two_parts(footage):
    held = films(footage, ("held",), ())
    assert [path.stem for path in held] == ["held_a", "held_b"]
    assert not {*held} & {*films(footage, (), ("held",))}


def test_the_packaged_configurations_are_right():
    for path in CONFIGS.glob("*.yaml"):
        config = read(OffsetConfig, path.stem, CONFIGS)
        assert config.kind == path.stem and config.held_out and config.unused


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "oracle"}, "kind must be one of blend, logistic, svm, mlp, cnn"),
        ({"knd": "svm"}, "unknown key knd"),
        ({"similarity": "beauty"}, "similarity must be one of"),
        ({"length": 20}, "length must be from 32 to 256"),
        ({"length": 100, "side": 64}, "side must be a multiple of 16 and at least length"),
        ({"side": 100}, "side must be a multiple of 16"),
        ({"layers": []}, "layers must be"),
        ({"strengths": [-1.0]}, "strengths must be numbers above 0"),
        ({"held_out": [""]}, "must not be empty"),
        ({"pairs": "many"}, "pairs must be a number"),
    ],
)
def test_configurations_that_cannot_be_are_refused_in_one_line(values, says):
    with pytest.raises(ConfigError) as error:
        from_dict(OffsetConfig, values, "my.yaml")
    assert re.search(says, str(error.value)) and "\n" not in str(error.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match="there is no folder"):
        films(tmp_path / "none", (), ())


@pytest.mark.torch
class TestCommand:
    """``vs-align train offset``, which needs torch even for what is fitted without it."""

    @pytest.fixture(autouse=True)
    def _torch(self):
        pytest.importorskip("torch")
        pytest.importorskip("tensorboard")

    def config(self, tmp_path: Path, **values) -> Path:
        path = tmp_path / "my.yaml"
        usual = {"kind": "blend", "length": LENGTH, "side": 48, "pairs": 3, "held_out": ["held"]}
        path.write_text(yaml.safe_dump(usual | values), encoding="utf-8")
        return path

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["blend", "logistic"])
    def test_a_file_is_made_that_offset_takes(self, kind, footage, tmp_path, capsys):
        from cli_files import run
        from helpers import drawn, held

        import vs_align

        out = tmp_path / "run"
        assert run("train", "offset", self.config(tmp_path, kind=kind), "--footage", footage, "--out", out, "-q") == 0
        path = Path(capsys.readouterr().out.strip())
        assert path == out / "offset.safetensors"
        pictures = scene(120, 77)
        clips = [held(drawn(lambda n, k=k: np.stack([pictures[n + k] / 255] * 3), 80)) for k in (0, 6)]
        found = vs_align.offset(*clips, predictor=path)
        assert found.predictor == "offset.safetensors"
        if kind == "blend":
            assert found.offset_frames == 6

    @pytest.mark.parametrize(
        ("values", "more", "says"),
        [
            ({"held_out": ["nothing"]}, [], "held_out must name some of the films"),
            ({"held_out": ["."]}, [], "held_out must name some of the films"),
            ({"unused": ["."]}, [], "holds no films"),
            ({"length": 200, "side": 256}, [], "no film in .* is long enough"),
            ({"wrong": 1}, [], "unknown key wrong"),
            ({}, ["--begin", "x.safetensors"], "leave --begin out"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, values, more, says, footage, tmp_path, capsys):
        from cli_files import run

        where = ["--footage", footage, "--out", tmp_path / "run", "-q"]
        assert run("train", "offset", self.config(tmp_path, **values), *where, *more) == 2
        said = capsys.readouterr()
        assert said.out == "" and re.search(says, said.err.splitlines()[-1]), said.err

    def test_footage_is_needed(self, tmp_path, capsys):
        from cli_files import run

        assert run("train", "offset", self.config(tmp_path), "--out", tmp_path / "run") == 2
        assert "name their folder with --footage" in capsys.readouterr().err
