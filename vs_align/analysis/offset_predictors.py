"""Predictors of an offset that were trained: a safetensors file, evaluated with NumPy.

A file says what it is in its metadata, ``format``, ``version``, ``kind``, ``similarity``, ``length`` (of the passages
in frames) and ``side`` (of the matrix in frames), and holds arrays alone. Kinds:

- "blend": nothing but what profiles weigh, in ``evidence``, which all kinds have: weights, none, scale, shift.
- "logistic", "svm", "mlp": ``cells``, which of the matrix's cells are read; ``mean`` and ``scale``, what they are
  brought to; ``weight0``, ``bias0``, ... layer by layer, with ReLU in between. One output: the offset itself. 61: a
  value for each offset, -30 to 30.
- "cnn": ``conv0`` to ``conv3`` (out, in, 3, 3) with ``conv_bias0``, ..., ReLU and a maximum over 2 x 2 cells after
  each, then layers as above.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matching.offset_evidence import Evidence
from ..matching.offsets import REACH, SIDE, Sight, best, similarity_matrix

__all__ = ["FORMAT", "KINDS", "VERSION", "PredictorError", "TrainedPredictor"]

type Arrays = Mapping[str, NDArray[Any]]

FORMAT, VERSION = "vs_align offset predictor", 2
KINDS = ("blend", "logistic", "svm", "mlp", "cnn")
_CONVOLUTIONS = 4
_MOST_LAYERS = 16


class PredictorError(ValueError):
    """A predictor's file that cannot be used. One line that says what to do, without the function's name."""


@dataclass(frozen=True)
class TrainedPredictor:
    """A predictor out of a file.

    Attributes:
        kind: out of `KINDS`.
        similarity: the measure that it was trained on.
        length: frames of the passages that it was trained on.
        side: rows and columns of the matrix that it reads.
        evidence: what tells how sure an answer is.
        arrays: the rest.
    """

    kind: str
    similarity: str
    length: int
    side: int
    evidence: Evidence
    arrays: Arrays

    @classmethod
    def load(cls, path: Path) -> "TrainedPredictor":
        """Read a file.

        Raises:
            PredictorError: it is not there, is something else, or of a version that is not known.
        """
        arrays, says = _read(path)
        if says.get("format") != FORMAT:
            raise PredictorError(f"{path} is no predictor of offsets: give a file that vs-align train offset made.")
        if says.get("version") != str(VERSION):
            raise PredictorError(
                f"{path} is of version {says.get('version')!r}, and this vs_align reads {VERSION}: update vs_align, or "
                "make it anew with vs-align train offset."
            )
        try:
            return cls._checked(arrays, says)
        except (KeyError, ValueError, TypeError, IndexError) as fault:
            why = " ".join(str(fault).split())[:120]
            raise PredictorError(f"{path} is damaged ({why}): make it anew with vs-align train offset.") from fault

    @classmethod
    def _checked(cls, arrays: Arrays, says: Mapping[str, str]) -> "TrainedPredictor":
        weights, (none, scale, shift) = arrays["evidence.weights"], arrays["evidence.rest"].tolist()
        evidence = Evidence(tuple(weights.astype(float).tolist()), none, scale, shift)
        made = cls(says["kind"], says["similarity"], int(says["length"]), int(says["side"]), evidence, arrays)
        if made.kind not in KINDS:
            raise ValueError(f"kind {made.kind!r} is not known")
        if not REACH < made.length <= made.side <= SIDE or made.side % 16:
            raise ValueError(f"passages of {made.length} frames in a matrix of {made.side}")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("a number is not finite")
        # An empty scene shows whether the arrays fit each other.
        still = Sight(np.zeros((made.length,) * 2), np.zeros((made.length, 8, 12)), np.zeros((made.length, 8, 12)))
        evidence.probability(still, made.offset(still))
        return made

    def offset(self, sight: Sight) -> int:
        """Return the offset of two passages of at most ``side`` frames."""
        if self.kind == "blend":
            return self.evidence.blend(sight)
        values = self.values(similarity_matrix(sight.distances))
        if len(values) == 1:
            return int(np.clip(np.rint(values[0]), -REACH, REACH))
        return best(values.astype(np.float64))

    def values(self, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return what the last layer says of a softmaxed matrix, shape (61,) or (1,)."""
        padded = np.zeros((self.side, self.side), np.float32)
        count = min(len(matrix), self.side)
        padded[:count, :count] = matrix[:count, :count]
        if self.kind == "cnn":
            read = _convolved(padded * np.float32(self.length), self.arrays).ravel()
        else:
            cells = self.arrays["cells"]
            read = (padded.ravel()[cells] - self.arrays["mean"]) * self.arrays["scale"]
        layers = [n for n in range(_MOST_LAYERS) if f"weight{n}" in self.arrays]
        for n in layers:
            read = read @ self.arrays[f"weight{n}"].astype(np.float32) + self.arrays[f"bias{n}"]
            if n + 1 < len(layers):
                read = np.maximum(read, 0)
        if read.shape not in ((1,), (2 * REACH + 1,)):
            raise ValueError(f"the last layer has {read.shape} values")
        return np.asarray(read, np.float32)

    def save(self, path: Path) -> None:
        """Write the file."""
        from safetensors.numpy import save_file

        evidence = self.evidence
        arrays = dict(self.arrays)
        arrays["evidence.weights"] = np.array(evidence.weights, np.float64)
        arrays["evidence.rest"] = np.array([evidence.none, evidence.scale, evidence.shift], np.float64)
        says = {
            "format": FORMAT, "version": str(VERSION), "kind": self.kind, "similarity": self.similarity,
            "length": str(self.length), "side": str(self.side),
        }  # fmt: skip
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, metadata=says)


def _read(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Return the arrays of a safetensors file and what it says of itself."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise PredictorError(f"there is no predictor's file {path}.")
    try:
        with safe_open(path, framework="numpy") as file:
            says = dict(file.metadata() or {})
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, says
    except (SafetensorError, OSError, json.JSONDecodeError) as fault:
        why = " ".join(str(fault).split())[:120]
        raise PredictorError(f"{path} cannot be read as safetensors ({why}): give another file.") from fault


def _convolved(picture: NDArray[np.float32], arrays: Arrays) -> NDArray[np.float32]:
    """Return the maps after four convolutions, each with ReLU and a maximum over 2 x 2 cells; shape (C, H, W)."""
    maps = picture[None]
    for n in range(_CONVOLUTIONS):
        kernels, bias = arrays[f"conv{n}"].astype(np.float32), arrays[f"conv_bias{n}"]
        _, height, width = maps.shape
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
        total = np.zeros((len(kernels), height * width), np.float32)
        for down in range(3):
            for across in range(3):
                part = padded[:, down : down + height, across : across + width].reshape(len(maps), -1)
                total += kernels[:, :, down, across] @ part
        found = np.maximum(total + bias[:, None], 0).reshape(-1, height // 2, 2, width // 2, 2)
        maps = found.max((2, 4))
    return maps
