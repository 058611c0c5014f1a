"""``vs-align evaluate``: how good an embedding is on a data set."""

import argparse
import json
from pathlib import Path

from .. import arguments
from ..command import Command
from ..console import Console
from ..faults import Refusal
from ..files import check_input

__all__ = ["COMMAND"]

_EXAMPLE = """\
examples:
  vs-align evaluate run/embedding.safetensors films
  vs-align evaluate run/embedding.safetensors pouring_records --dataset pouring

A folder of videos without labels: the frame error of nearest neighbours between made views. Pairs of recordings: that
between them. Phases: classification with 10, 50 and 100 % of the labels, progress (R^2), Kendall's tau, AP@5/10/15.
Kendall's tau near 1 says that order is kept, and nothing of how far off the frames are."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=Path, help="weights that vs-align train embedding wrote")
    parser.add_argument("footage", metavar="FOLDER", type=Path, help="the data set's folder")
    parser.add_argument("--dataset", metavar="NAME", default="folder", help="its layout; default: a plain folder")
    parser.add_argument("--split", default="val", help="what is measured on: train, val or test; default: val")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--device", type=arguments.device, help="cpu, cuda or cuda:1; default: CUDA where it works")


def _run(options: argparse.Namespace, console: Console) -> None:
    from ...train.evaluation.command import Question, answer
    from ...train.faults import TrainFault

    check_input(options.model, "a file of weights")
    question = Question(
        model=options.model,
        dataset=options.dataset,
        footage=options.footage,
        split=options.split,
        device=options.device,
    )
    try:
        figures = answer(question)
    except TrainFault as fault:
        raise Refusal(f"{' '.join(str(fault).split())}.") from fault
    if options.json:
        console.show(json.dumps({name: round(value, 6) for name, value in figures.items()}))
        return
    width = max(map(len, figures))
    console.show("\n".join(f"{name:<{width}}  {value:.3f}" for name, value in figures.items()))


COMMAND = Command(
    name="evaluate",
    usage="MODEL FOLDER",
    summary="Measure how good a trained embedding is.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
