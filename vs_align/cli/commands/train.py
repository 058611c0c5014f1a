"""``vs-align train``: networks trained on footage of your own."""

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import arguments
from ..command import Command
from ..console import Console
from ..faults import Refusal

__all__ = ["COMMAND"]

_KINDS = ("flow", "embedding", "offset")

_EXAMPLE = """\
examples:
  vs-align train embedding small --footage films --out run
  torchrun --nproc-per-node 4 -m vs_align train flow full --footage films

flow is the network of spatial's engine "flow", embedding that of similarity "embedding", offset the predictors of
vs_align.offset. The same command goes on where a run was cut off. The weights' path goes to stdout."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", choices=_KINDS, help=f"what is trained: {', '.join(_KINDS)}")
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the name of a configuration of the package")
    parser.add_argument("--footage", metavar="FOLDER", type=Path, help="films to train on and to validate with")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="the run's folder; default: KIND_run")
    parser.add_argument("--begin", metavar="FILE", type=Path, help="weights to begin with; default: random ones")
    parser.add_argument("--device", type=arguments.device, help="cpu, cuda or cuda:1; default: CUDA where it works")
    parser.add_argument("--threads", type=arguments.at_least_one, help="threads on a CPU; default: torch's own choice")


def _run(options: argparse.Namespace, console: Console) -> None:
    from ...train.command import Order, carry_out
    from ...train.faults import TrainFault

    order = Order(
        kind=options.kind,
        config=options.config,
        footage=options.footage,
        out=options.out or Path(f"{options.kind}_run"),
        begin=options.begin,
        device=options.device,
        threads=options.threads,
    )
    # Of several processes that torchrun started one speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    try:
        with _told(console, first and not options.quiet):
            path = carry_out(order)
    except KeyboardInterrupt:
        if first:
            console.note("the same command goes on from the last checkpoint")
        raise
    except TrainFault as fault:
        if not first:
            raise SystemExit(2) from fault
        raise Refusal(f"{' '.join(str(fault).split())}.") from fault
    if first:
        console.show(str(path))


@contextmanager
def _told(console: Console, progress: bool) -> Iterator[None]:
    """Have the console say how far a training is."""
    logger = logging.getLogger("vs_align.train")
    handler = _Told(console)
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO if progress else logging.ERROR)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


class _Told(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.note(record.getMessage())


COMMAND = Command(
    name="train",
    usage="KIND CONFIG",
    summary="Train a network on footage of your own, or go on with it.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
