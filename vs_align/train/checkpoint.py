"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .configs import RunConfig
from .faults import TrainFault

__all__ = ["CheckpointError", "Progress", "restore", "save"]

_NAME = "checkpoint.pt"
# What may change from one part of a run to the next: no number depends on it.
_FREE = ("workers", "checkpoint_every")


class CheckpointError(TrainFault, RuntimeError):
    """A checkpoint that cannot be gone on from. One line that says what to do."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: how many steps are done, and so where in the stream of samples it is.
        sums: by name, the sum of the losses and figures since they were last noted.
        data: what identifies the data that it trains on; "": not known.
    """

    step: int = 0
    sums: Mapping[str, float] = field(default_factory=dict)
    data: str = ""


def save(folder: Path, config: RunConfig, progress: Progress, parts: Mapping[str, Any]) -> None:
    """Write a checkpoint; one that is there is replaced only when the new one is whole.

    Args:
        folder: the run's.
        config: the run's.
        progress: how far it has come.
        parts: by name, whatever has a ``state_dict``.
    """
    content = {
        "step": progress.step,
        "sums": dict(progress.sums),
        "data": progress.data,
        "config": _plain(config.as_dict()),
        "state": {name: part.state_dict() for name, part in parts.items()},
    }
    partial = folder / f"{_NAME}.part"
    torch.save(content, partial)
    partial.replace(folder / _NAME)


def restore(folder: Path, config: RunConfig, parts: Mapping[str, Any], device: torch.device) -> Progress:
    """Bring the parts to where the folder's checkpoint left them; return how far that is, the start without one.

    Raises:
        CheckpointError: it cannot be read or is of another configuration.
    """
    path = folder / _NAME
    if not path.exists():
        return Progress()
    try:
        loaded = torch.load(path, map_location=device, weights_only=True)
        sums = {str(name): float(value) for name, value in loaded["sums"].items()}
        progress = Progress(int(loaded["step"]), sums, str(loaded["data"]))
        before, state = dict(loaded["config"]), {name: loaded["state"][name] for name in parts}
    except Exception as fault:  # a truncated or foreign file fails in a dozen ways, none of them documented
        raise CheckpointError(f"{path} cannot be read as a checkpoint: delete it to begin anew") from fault
    _refuse_other(path, before, _plain(config.as_dict()))
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except Exception as fault:  # as above
        raise CheckpointError(f"{path} does not fit this network: delete it to begin anew") from fault
    return progress


def _refuse_other(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for key in (*now, *before):
        if key not in _FREE and before.get(key) != now.get(key):
            raise CheckpointError(
                f"{path} is of a run with another {key} ({before.get(key)!r}, now {now.get(key)!r}): "
                "use another folder, or delete it to begin anew"
            )


def _plain(value: Any) -> Any:
    """Return values with lists in the place of tuples, as they come back from a file."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
