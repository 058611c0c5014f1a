"""Logistic regression, support vector regression and a multi-layer perceptron on the matrix, by scikit-learn."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...analysis.offset_predictors import TrainedPredictor
from ...matching.offset_evidence import Evidence
from ...matching.offsets import REACH, similarity_matrix
from .config import OffsetConfig
from .scenes import Pair
from .scoring import errors

__all__ = ["fit"]

type Arrays = dict[str, NDArray[Any]]

_log = logging.getLogger("vs_align.train")
_ITERATIONS = 200
_BATCH = 64


def fit(config: OffsetConfig, training: Sequence[Pair], held: Sequence[Pair], evidence: Evidence) -> TrainedPredictor:
    """Fit one predictor for each strength of regularisation, and return the one of the smallest error on held pairs.

    Args:
        config: the run; its kind is "logistic", "svm" or "mlp".
        training, held: pairs; strangers are left out.
        evidence: what tells how sure an answer is.
    """
    training, held = ([pair for pair in part if pair.offset is not None] for part in (training, held))
    # What lies beyond the passages is zero in every matrix, and left out.
    read = np.array([similarity_matrix(pair.sight.distances).ravel() for pair in training], np.float32)
    row, column = np.divmod(np.arange(config.length**2), config.length)
    cells, mean = row * config.side + column, read.mean(0)
    scale = np.full(len(cells), config.length, np.float32)
    read = (read - mean) * scale
    truth = np.array([pair.offset for pair in training])
    best: tuple[float, TrainedPredictor] | None = None
    for strength, layers in _FITS[config.kind](config, read, truth):
        arrays: Arrays = {"cells": cells, "mean": mean, "scale": scale}
        for n, (weight, bias) in enumerate(layers):
            arrays[f"weight{n}"], arrays[f"bias{n}"] = weight.astype(np.float32), bias.astype(np.float32)
        made = TrainedPredictor(config.kind, config.similarity, config.length, config.side, evidence, arrays)
        error = float(np.mean(errors(made.offset, held)))
        _log.info("%s, %s: mean error %.2f frames on held pairs", config.kind, strength, error)
        if best is None or error < best[0]:
            best = error, made
    assert best is not None
    return best[1]


type Layers = list[tuple[NDArray[Any], NDArray[Any]]]
type Fits = Iterator[tuple[str, Layers]]


def _logistic(config: OffsetConfig, read: NDArray[np.float32], truth: NDArray[np.int64]) -> Fits:
    from sklearn.linear_model import LogisticRegression

    for strength in config.strengths:
        model = LogisticRegression(C=1 / strength, max_iter=_ITERATIONS)
        _quietly(model, read, truth)
        weight = np.zeros((read.shape[1], 2 * REACH + 1))
        # An offset that no pair has is never the answer.
        bias = np.full(2 * REACH + 1, -1e9)
        weight[:, model.classes_ + REACH], bias[model.classes_ + REACH] = model.coef_.T, model.intercept_
        yield f"strength {strength}", [(weight, bias)]


def _svm(config: OffsetConfig, read: NDArray[np.float32], truth: NDArray[np.int64]) -> Fits:
    from sklearn.svm import SVR

    for strength in config.strengths:
        model = SVR(kernel="linear", C=1 / strength, max_iter=20_000)
        _quietly(model, read, truth)
        yield f"strength {strength}", [(model.coef_.T, model.intercept_)]


def _mlp(config: OffsetConfig, read: NDArray[np.float32], truth: NDArray[np.int64]) -> Fits:
    from sklearn.neural_network import MLPClassifier

    classes = np.arange(-REACH, REACH + 1)
    for strength in config.strengths:
        model = MLPClassifier(
            config.layers, alpha=strength, batch_size=min(_BATCH, len(read)), learning_rate_init=config.learning_rate,
            random_state=config.seed,
        )  # fmt: skip
        for epoch in range(1, config.epochs + 1):
            model.partial_fit(read, truth, classes=classes)
            layers = [(w.copy(), b.copy()) for w, b in zip(model.coefs_, model.intercepts_, strict=True)]
            yield f"strength {strength}, epoch {epoch}", layers


_FITS: dict[str, Callable[[OffsetConfig, NDArray[np.float32], NDArray[np.int64]], Fits]] = {
    "logistic": _logistic,
    "svm": _svm,
    "mlp": _mlp,
}


def _quietly(model: Any, read: NDArray[np.float32], truth: NDArray[np.int64]) -> None:
    """Fit without the warning that it was cut off, which regularises as well."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # There are as many classes as offsets, however few pairs.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(read, truth)
