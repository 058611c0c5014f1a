"""The command that trains the alignment network."""

import argparse
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

__all__ = ["main"]

_NAME = "vs_align.train.flow"
_PACKAGES = ("torch", "yaml", "tensorboard", "safetensors", "av")


class _Refused(Exception):
    """What was asked for cannot be done. One line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Refuse the command line, in one line."""
        raise _Refused(f"{message}; --help lists the options")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the network as the command line says; return the exit status: 0, 2 where it cannot be, 130 on Ctrl-C."""
    # Of several processes that torchrun started one speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("vs_align").setLevel(logging.INFO if first else logging.ERROR)
    try:
        _run(_parser().parse_args(arguments))
    except _Refused as fault:
        if first:
            sys.stderr.write(f"{_NAME}: {fault}\n")
        return 2
    except KeyboardInterrupt:
        if first:
            sys.stderr.write(f"{_NAME}: stopped; the same command goes on from the last checkpoint\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"python -m {_NAME}",
        description="Train the network of vs_align.spatial's engine 'flow'.",
        epilog="example: python -m vs_align.train.flow --config small --footage films --out run",
    )
    parser.add_argument("--config", default="small", help="a YAML file, or small, medium, full (default: small)")
    parser.add_argument("--footage", type=Path, help="folder of films and pictures to train on and to validate with")
    parser.add_argument("--out", type=Path, default=Path("flow_run"), help="folder of the run (default: flow_run)")
    parser.add_argument("--begin", type=Path, help="weights to begin with, .safetensors; default: random ones")
    parser.add_argument("--device", help='"cpu", "cuda", "cuda:1"; default: CUDA where it works')
    parser.add_argument("--threads", type=_count, help="threads of torch on a CPU; default: torch's own choice")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text!r}")
    return int(text)


def _run(options: argparse.Namespace) -> None:
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise _Refused(f'training needs {package}: install it with pip install "vs_align[train]"')
    import torch

    from ...models import ModelError
    from .checkpoint import CheckpointError
    from .config import ConfigError, read
    from .ranks import DeviceError, ranks
    from .sources import SourceError
    from .trainer import TrainingError, train

    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        config = read(options.config)
        with ranks(options.device) as own:
            path = train(config, options.footage, options.out, own, options.begin)
    except (ConfigError, ModelError, CheckpointError, DeviceError, SourceError, TrainingError, OSError) as fault:
        raise _Refused(str(fault)) from fault
    except torch.cuda.OutOfMemoryError as fault:
        raise _Refused("the GPU has too little memory: make batch or size smaller") from fault
    logging.getLogger("vs_align").info("weights: %s", path)
