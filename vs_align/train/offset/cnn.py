"""The convolutional predictor: a network that reads the matrix as a picture."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...analysis.offset_predictors import TrainedPredictor
from ...matching.offset_evidence import Evidence
from ...matching.offsets import REACH, similarity_matrix
from ..ranks import Ranks
from ..run import Objective
from .config import OffsetConfig
from .scenes import Material, Pair, pairs
from .scoring import errors

__all__ = ["MatrixNet", "OffsetObjective"]

_CHANNELS = (32, 64, 128, 256)
_HIDDEN, _DROPOUT = 512, 0.7


class MatrixNet(nn.Module):
    """Four times a 3 x 3 convolution, batch norm, ReLU and pooling by 2; then 512 and 61, with dropout before each.

    Args:
        side: rows and columns of the matrix.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        widths = (1, *_CHANNELS)
        steps = zip(widths[:-1], _CHANNELS, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in steps)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in _CHANNELS)
        cells = (side // 2 ** len(_CHANNELS)) ** 2
        self.layers = nn.ModuleList([nn.Linear(cells * _CHANNELS[-1], _HIDDEN), nn.Linear(_HIDDEN, 2 * REACH + 1)])

    def forward(self, matrix: Tensor) -> Tensor:
        """Return a value for each offset, shape (B, 61), of matrices, shape (B, side, side)."""
        maps = matrix[:, None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = functional.max_pool2d(functional.relu(norm(convolution(maps))), 2)
        read = functional.dropout(maps.flatten(1), _DROPOUT, self.training)
        read = functional.dropout(functional.relu(self.layers[0](read)), _DROPOUT, self.training)
        values: Tensor = self.layers[1](read)
        return values

    def arrays(self) -> dict[str, Any]:
        """Return what `TrainedPredictor` reads: batch norms are taken into the convolutions before them."""
        found: dict[str, Any] = {}
        with torch.no_grad():
            for n, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
                factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                found[f"conv{n}"] = (convolution.weight * factor[:, None, None, None]).cpu().numpy()
                bias = (convolution.bias - norm.running_mean) * factor + norm.bias
                found[f"conv_bias{n}"] = bias.cpu().numpy()
            for n, layer in enumerate(self.layers):
                found[f"weight{n}"] = layer.weight.T.contiguous().cpu().numpy()
                found[f"bias{n}"] = layer.bias.cpu().numpy()
        return found


class OffsetObjective(Objective):
    """Which of 61 offsets is right, by cross-entropy.

    Args:
        config: the run.
        made: compared views to cut pairs out of.
        held: pairs to validate with.
        evidence: what tells how sure an answer is.
    """

    name = "offset"

    def __init__(
        self, config: OffsetConfig, made: Sequence[Material], held: Sequence[Pair], evidence: Evidence
    ) -> None:
        self.config: OffsetConfig = config
        self._made = [each for each in made if not each.strangers]
        self._held = [pair for pair in held if pair.offset is not None]
        self._evidence = evidence

    def network(self) -> nn.Module:
        """Return the network with its first weights."""
        return MatrixNet(self.config.side)

    @contextmanager
    def data(self, workers: int) -> Iterator[Any]:
        """Lend the pairs: sample n is drawn anew from the seed and n."""
        yield _Samples(self.config, self._made)

    def loss(self, network: Any, batch: Any, ranks: Ranks) -> tuple[Tensor, Mapping[str, float]]:
        """Return the cross-entropy of the right offsets."""
        matrix, truth = batch
        return functional.cross_entropy(network(matrix), truth), {}

    def validate(self, network: Any, device: torch.device) -> Mapping[str, float]:
        """Return the mean error in frames on the held pairs."""
        return {"error_frames": float(np.mean(errors(self._predictor(network).offset, self._held)))}

    def save(self, network: Any, path: Path) -> None:
        """Write the predictor's file."""
        self._predictor(network).save(path)

    def _predictor(self, network: MatrixNet) -> TrainedPredictor:
        config = self.config
        return TrainedPredictor("cnn", config.similarity, config.length, config.side, self._evidence, network.arrays())


class _Samples:
    """Matrices and which offset is right."""

    def __init__(self, config: OffsetConfig, made: Sequence[Material]) -> None:
        self._config, self._made = config, made

    def __getitem__(self, n: int) -> tuple[Tensor, int]:
        config = self._config
        rng = np.random.default_rng([config.seed, n])
        each = self._made[int(rng.integers(len(self._made)))]
        pair = next(pairs([each], config.length, 1, int(rng.integers(1 << 31))))
        padded = np.zeros((config.side, config.side), np.float32)
        padded[: config.length, : config.length] = similarity_matrix(pair.sight.distances) * config.length
        return torch.from_numpy(padded), (pair.offset or 0) + REACH
