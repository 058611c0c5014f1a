"""What `vs-align train` does once its arguments are read.

What can be trained is a folder here with a module ``entry`` that has ``NEEDS``, the packages without which it cannot be
trained, and ``train(order, ranks)``, which reads the configuration, trains, and returns the path of what was made.
"""

import importlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

from .faults import TrainFault

__all__ = ["KINDS", "Order", "carry_out"]

KINDS = ("flow", "embedding", "offset")
"""What can be trained: folders here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be trained, and where.

    Attributes:
        kind: out of `KINDS`.
        config: a YAML file's path, or the name of a configuration of the package.
        footage: folder of films; None: none is given.
        out: the run's folder.
        begin: weights to begin with; None: random ones.
        device: "cpu", "cuda", "cuda:1"; None: CUDA where it works.
        threads: of torch on a CPU; None: torch's own choice.
    """

    kind: str
    config: str
    footage: Path | None = None
    out: Path
    begin: Path | None = None
    device: str | None = None
    threads: int | None = None


def carry_out(order: Order) -> Path:
    """Train what is ordered and return the path of what was made.

    Raises:
        TrainFault: it cannot be; one line says why.
    """
    entry = importlib.import_module(f"{__package__}.{order.kind}.entry")
    for package in ("torch", *entry.NEEDS):
        if _missing(package):
            raise TrainFault(f'training needs {package}: install it with pip install "vs_align[train]"')
    import torch

    from ..models import ModelError
    from .ranks import ranks

    if order.threads:
        torch.set_num_threads(order.threads)
    try:
        with ranks(order.device) as own:
            path: Path = entry.train(order, own)
    except (ModelError, OSError) as fault:
        raise TrainFault(str(fault)) from fault
    except torch.cuda.OutOfMemoryError as fault:
        raise TrainFault("the GPU has too little memory: make batch or size smaller") from fault
    logging.getLogger("vs_align.train").info("weights: %s", path)
    return path


def _missing(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is None
    except (ValueError, ModuleNotFoundError):
        return True
