"""Butteraugli's Malta filter: the summed squared responses of short lines in sixteen directions.

The lines are those of libjxl's ``lib/jxl/butteraugli/butteraugli.cc`` (``MaltaUnit``). Each is symmetric about its
centre: a core at the centre, a run of samples at one end, and that run's mirror image at the other end. Lines that
run in the same direction share their runs and their core, which is what makes the sums cheap on a CPU; four of the
sixteen long lines are there twice, so they count double. On a GPU the same lines are the kernels of one convolution.

Images are flat: rows of ``stride`` values, the last ``GAP`` of them zero. A neighbour is then one constant away, and
a line that leaves the image on the left or on the right finds zeros, as in libjxl.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

GAP = 4  # how far a line reaches


@dataclass(frozen=True, slots=True)
class LineFamily:
    """Lines whose samples follow the same step.

    Args:
        step: (dx, dy) from one sample of a run to the next; points down, or right.
        core: samples at the centre, 1 or 3.
        run: samples in each end run, 2 or 3.
        ends: (x, y) of the outermost sample of each line's upper run, from the centre.
        weights: how often each line counts.
    """

    step: tuple[int, int]
    core: int
    run: int
    ends: tuple[tuple[int, int], ...]
    weights: tuple[int, ...]


SPARSE_LINES = (
    LineFamily((2, 0), 1, 2, ((-4, 0), (-4, -1), (-4, 1)), (1, 1, 1)),
    LineFamily((0, 2), 1, 2, ((0, -4), (-1, -4), (1, -4)), (1, 1, 1)),
    LineFamily((1, 1), 1, 2, ((-3, -3), (-2, -3), (-3, -2)), (1, 1, 1)),
    LineFamily((-1, 1), 1, 2, ((3, -3), (2, -3), (3, -2)), (1, 1, 1)),
    LineFamily((2, 1), 1, 2, ((-4, -2),), (1,)),
    LineFamily((-2, 1), 1, 2, ((4, -2),), (1,)),
    LineFamily((1, 2), 1, 2, ((-2, -4),), (1,)),
    LineFamily((-1, 2), 1, 2, ((2, -4),), (1,)),
)
"""Five samples a line: for the high and the medium frequencies (``MaltaTagLF``)."""

DENSE_LINES = (
    LineFamily((1, 0), 3, 3, ((-4, 0), (-4, -1), (-4, 1)), (1, 2, 2)),
    LineFamily((0, 1), 3, 3, ((0, -4), (-1, -4), (1, -4)), (1, 2, 2)),
    LineFamily((1, 1), 3, 2, ((-3, -3), (-2, -3), (-3, -2)), (1, 1, 1)),
    LineFamily((-1, 1), 3, 2, ((3, -3), (2, -3), (3, -2)), (1, 1, 1)),
)
"""Nine samples a line, seven in the diagonals: for the ultra high frequencies (``MaltaTag``)."""


class MaltaWorkspace(ABC):
    """A batch of flat images with room around them, and the Malta filter on it.

    Args:
        batch: images at once.
        height: rows.
        stride: values in a row, the last ``GAP`` of them zero.
        device: where the memory is.
    """

    def __init__(self, batch: int, height: int, stride: int, device: torch.device) -> None:
        self.height = height
        self.stride = stride
        self.margin = GAP * stride + GAP
        self.length = height * stride
        self.padded = torch.zeros((batch, self.length + 2 * self.margin), device=device)

    def images(self, count: int) -> torch.Tensor:
        """The first ``count`` images to filter, (count, height * stride), to be written by the caller."""
        return self.padded[:count, self.margin : self.margin + self.length]

    @abstractmethod
    def add_energy(self, families: tuple[LineFamily, ...], energy: torch.Tensor) -> None:
        """Add the squared line sums of the first images to ``energy`` (count, height * stride); gaps get anything."""


class ShiftedMalta(MaltaWorkspace):
    """Line sums as sums of shifted views: some 50 passes over memory, all in buffers that are used again."""

    def __init__(self, batch: int, height: int, stride: int, device: torch.device) -> None:
        super().__init__(batch, height, stride, device)
        self._pairs = torch.empty_like(self.padded)
        self._triples = torch.empty_like(self.padded)
        self._line = torch.empty((batch, self.length), device=device)

    def add_energy(self, families: tuple[LineFamily, ...], energy: torch.Tensor) -> None:
        for family in families:
            self._add_family(family, energy)

    def _add_family(self, family: LineFamily, energy: torch.Tensor) -> None:
        count, step = energy.shape[0], self._offset(family.step)
        padded = self.padded[:count]
        # pairs[i] = image[i] + image[i + step]; triples[i] adds image[i + 2 * step].
        pairs = torch.add(padded[:, :-step], padded[:, step:], out=self._pairs[:count, :-step])
        runs, core = pairs, self.images(count)
        if family.core == 3:
            end = -2 * step
            triples = torch.add(pairs[:, :-step], padded[:, 2 * step :], out=self._triples[:count, :end])
            core = self._at(triples, -step)
            runs = triples if family.run == 3 else pairs
        for end_point, weight in zip(family.ends, family.weights, strict=True):
            first = self._offset(end_point)
            mirrored = -first - (family.run - 1) * step
            line = torch.add(self._at(runs, first), core, out=self._line[:count])
            line += self._at(runs, mirrored)
            energy.addcmul_(line, line, value=weight)

    def _offset(self, point: tuple[int, int]) -> int:
        return point[1] * self.stride + point[0]

    def _at(self, values: torch.Tensor, offset: int) -> torch.Tensor:
        start = self.margin + offset
        return values[:, start : start + self.length]


class ConvolvedMalta(MaltaWorkspace):
    """Line sums as the channels of one convolution: few launches, for a GPU.

    Where cuDNN rounds to TF32, as torch lets it, the distance is off by some 1e-4 of its value.
    """

    def __init__(self, batch: int, height: int, stride: int, device: torch.device) -> None:
        super().__init__(batch, height, stride, device)
        both: tuple[tuple[LineFamily, ...], ...] = (SPARSE_LINES, DENSE_LINES)
        self._kernels = {families: line_kernels(families).to(device) for families in both}

    def add_energy(self, families: tuple[LineFamily, ...], energy: torch.Tensor) -> None:
        rows = self.padded[: energy.shape[0], GAP:-GAP].unflatten(1, (1, self.height + 2 * GAP, self.stride))
        lines = F.conv2d(rows, self._kernels[families], padding=(0, GAP))
        energy += torch.linalg.vector_norm(lines, dim=1).square_().flatten(1)


def line_kernels(families: tuple[LineFamily, ...]) -> torch.Tensor:
    """The lines as (lines, 1, 9, 9) kernels, each scaled by the square root of its weight."""
    kernels = []
    for family in families:
        dx, dy = family.step
        for (x, y), weight in zip(family.ends, family.weights, strict=True):
            half = [(x + i * dx, y + i * dy) for i in range(family.run)]
            centre = [(i * dx, i * dy) for i in range(-(family.core // 2), family.core // 2 + 1)]
            kernel = torch.zeros((1, 2 * GAP + 1, 2 * GAP + 1))
            for px, py in half + centre + [(-px, -py) for px, py in half]:
                kernel[0, GAP + py, GAP + px] = weight**0.5
            kernels.append(kernel)
    return torch.stack(kernels)
