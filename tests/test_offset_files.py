"""Predictors out of files: what they say, and files that are none."""

import itertools

import numpy as np
import pytest
from helpers import drawn, held, moving, one_line
from safetensors.numpy import load_file, save_file

import vs_align
from vs_align.analysis.offset_predictors import TrainedPredictor
from vs_align.matching.offset_evidence import EVIDENCE
from vs_align.matching.offsets import REACH, Sight, similarity_matrix

LENGTH, SIDE = 60, 64


def layers(*sizes: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {}
    for n, (wide, narrow) in enumerate(itertools.pairwise(sizes)):
        made[f"weight{n}"] = rng.standard_normal((wide, narrow)).astype(np.float32) / np.sqrt(wide)
        made[f"bias{n}"] = rng.standard_normal(narrow).astype(np.float32)
    return made


def diagonal_reader() -> dict[str, np.ndarray]:
    """One layer whose value for an offset is the matrix' sum along its diagonal: an answer known by definition."""
    row, column = np.divmod(np.arange(LENGTH**2), LENGTH)
    weight = (column - row)[:, None] == np.arange(-REACH, REACH + 1)
    return {
        "cells": row * SIDE + column,
        "mean": np.zeros(LENGTH**2, np.float32),
        "scale": np.ones(LENGTH**2, np.float32),
        "weight0": weight.astype(np.float32),
        "bias0": np.zeros(2 * REACH + 1, np.float32),
    }


def predictor(kind: str, arrays: dict[str, np.ndarray], similarity: str = "structure") -> TrainedPredictor:
    return TrainedPredictor(kind, similarity, LENGTH, SIDE, EVIDENCE["structure"], arrays)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "diagonal.safetensors"
    predictor("logistic", diagonal_reader()).save(path)
    return path


@pytest.fixture(scope="module")
def clips():
    paint = moving(64, 48)
    return tuple(held(drawn(lambda n, late=late: paint(300 + n - late), 200)) for late in (8, 0))


def test_a_file_serves_as_a_predictor(file, clips):
    found = vs_align.offset(*clips, predictor=file)
    assert found.offset_frames == 8 and found.probability > 0.8
    assert found.predictor == "diagonal.safetensors"
    # Passages are as long as those that it was trained on.
    assert {passage.length for passage in found.passages} == {LENGTH}
    assert vs_align.offset(*clips, predictor=str(file), similarity="structure").offset_frames == 8


def test_a_file_of_blend_holds_weights_alone(tmp_path, clips):
    predictor("blend", {}).save(tmp_path / "blend.safetensors")
    found = vs_align.offset(*clips, predictor=tmp_path / "blend.safetensors")
    assert found.offset_frames == 8
    assert found.probability == vs_align.offset(*clips, length=LENGTH).probability


def test_layers_are_read_as_they_are_written(tmp_path):
    """Against the same sums with loops."""
    rng = np.random.default_rng(1)
    arrays = diagonal_reader() | layers(LENGTH**2, 5, 1)
    arrays["mean"], arrays["scale"] = rng.random((2, LENGTH**2)).astype(np.float32)
    distances = rng.random((LENGTH, LENGTH))
    matrix = similarity_matrix(distances)
    read = (matrix.ravel() - arrays["mean"]) * arrays["scale"]
    hidden = [max(0.0, float(sum(read * w) + b)) for w, b in zip(arrays["weight0"].T, arrays["bias0"], strict=True)]
    wanted = sum(h * w for h, w in zip(hidden, arrays["weight1"][:, 0], strict=True)) + arrays["bias1"][0]
    path = tmp_path / "mlp.safetensors"
    predictor("mlp", arrays).save(path)
    assert TrainedPredictor.load(path).values(matrix) == pytest.approx([wanted], rel=1e-4)


def test_one_output_is_the_offset_itself_within_reach():
    arrays = diagonal_reader() | {"weight0": np.zeros((LENGTH**2, 1), np.float32)}
    for value, wanted in ((4.6, 5), (-80.0, -REACH), (200.0, REACH)):
        made = predictor("svm", arrays | {"bias0": np.array([value], np.float32)})
        still = Sight(np.ones((LENGTH, LENGTH)), np.zeros((LENGTH, 8, 12)), np.zeros((LENGTH, 8, 12)))
        assert made.offset(still) == wanted


def change(file, tmp_path, says=None, arrays=None):
    """Write a copy of a file that says something else, or lacks or changes arrays."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        metadata = dict(opened.metadata())
    held = {k: v for k, v in (load_file(file) | (arrays or {})).items() if v is not None}
    path = tmp_path / "changed.safetensors"
    save_file(held, path, metadata=metadata | (says or {}))
    return path


@pytest.mark.parametrize(
    ("says", "arrays", "fault"),
    [
        ({"format": "vs_align embedding"}, {}, "is no predictor of offsets: give a file that vs-align train"),
        ({"version": "1"}, {}, "is of version '1', and this vs_align reads 2: update"),
        ({"kind": "oracle"}, {}, "damaged .*'oracle' is not known"),
        ({"length": "many"}, {}, "damaged"),
        ({"length": "900"}, {}, "damaged .*passages of 900 frames"),
        ({"side": "61"}, {}, "damaged"),
        ({"similarity": "beauty"}, {}, "the similarity of changed.safetensors must be one of"),
        ({}, {"weight0": np.zeros((3, 61), np.float32)}, "damaged"),
        ({}, {"weight0": np.zeros((LENGTH**2, 7), np.float32), "bias0": np.zeros(7, np.float32)}, "damaged"),
        ({}, {"cells": None}, "damaged .*cells"),
        ({}, {"evidence.rest": np.zeros(2)}, "damaged"),
        ({}, {"cells": np.arange(LENGTH**2) + 10_000}, "damaged"),
        ({}, {"bias0": np.full(61, np.nan, np.float32)}, "damaged .*not finite"),
        ({}, {"evidence.weights": np.ones(3)}, "damaged"),
        ({"kind": "cnn"}, {}, "damaged .*conv0"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_line(file, tmp_path, clips, says, arrays, fault):
    path = change(file, tmp_path, says, arrays)
    with pytest.raises(ValueError) as error:
        vs_align.offset(*clips, predictor=path)
    one_line("vs_align.offset", error, fault)


def test_files_of_other_things_are_refused(tmp_path, clips, file):
    for name, content, says in (
        ("text.safetensors", b"hello, this is a text", "cannot be read as safetensors"),
        ("empty.safetensors", b"", "cannot be read as safetensors"),
        ("cut.safetensors", file.read_bytes()[:2000], "cannot be read as safetensors"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError) as error:
            vs_align.offset(*clips, predictor=tmp_path / name)
        one_line("vs_align.offset", error, says)
    save_file({"a": np.zeros(3)}, tmp_path / "others.safetensors")
    with pytest.raises(ValueError) as error:
        vs_align.offset(*clips, predictor=tmp_path / "others.safetensors")
    one_line("vs_align.offset", error, "is no predictor of offsets")


def test_a_file_and_another_measure_contradict_each_other(file, clips):
    with pytest.raises(ValueError) as error:
        vs_align.offset(*clips, predictor=file, similarity="planestats")
    one_line("vs_align.offset", error, "was trained on 'structure'; leave similarity out")
    with pytest.raises(ValueError) as error:
        vs_align.offset(*clips, predictor=file, length=100)
    one_line("vs_align.offset", error, "length must be at most 64")
