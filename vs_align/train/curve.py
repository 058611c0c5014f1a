"""The curve of a run: curve.csv, and the same for TensorBoard."""

import csv
import io
from pathlib import Path
from typing import Any

__all__ = ["Curve", "read_curve"]

_NAME = "curve.csv"
_COLUMNS = ("step", "what", "value")

type Row = tuple[int, str, float]
"""Step, what, value."""


class Curve:
    """Writes a run's curve, from a step on: what a run that was cut off wrote after its last checkpoint comes again.

    Args:
        folder: the run's; None: nothing is written.
        step: how many steps are done.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self._folder, self._step = folder, step
        self._board: Any = None

    def __enter__(self) -> "Curve":
        if self._folder is None:
            return self
        from torch.utils.tensorboard import SummaryWriter

        kept = [row for row in read_curve(self._folder) if row[0] <= self._step] if self._step else []
        path = self._folder / _NAME
        partial = path.with_suffix(".part")
        partial.write_text(_lines(_COLUMNS, *(_formatted(*row) for row in kept)), encoding="utf-8", newline="")
        partial.replace(path)
        self._board = SummaryWriter(str(self._folder / "board"), purge_step=self._step + 1)
        return self

    def __exit__(self, *fault: object) -> None:
        if self._board is not None:
            self._board.close()

    def note(self, step: int, **values: float) -> None:
        """Add what is true after a step."""
        if self._folder is None:
            return
        with (self._folder / _NAME).open("a", encoding="utf-8", newline="") as file:
            file.write(_lines(*(_formatted(step, name, value) for name, value in values.items())))
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


def read_curve(folder: Path) -> list[Row]:
    """Return the rows of a run's curve, oldest first, none where there is none; one that was cut off is left out."""
    path = folder / _NAME
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(_COLUMNS)]
    return [(int(step), name, float(value)) for step, name, value in rows if step.isdecimal()]


def _formatted(step: int, name: str, value: float) -> tuple[object, ...]:
    return step, name, f"{value:.6f}"


def _lines(*rows: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
