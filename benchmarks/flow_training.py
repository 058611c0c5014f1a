"""What the training of engine "flow" came to, and what each part of it buys.

    python benchmarks/flow_training.py --curve RUN           # the curve of a run's folder
    python benchmarks/flow_training.py --footage FOLDER      # the ablation, on a CPU too
    python benchmarks/flow_training.py --footage FOLDER --variants all "no ghost" --steps 2000

Prints Markdown; progress goes to stderr. The ablation trains the same network with the same seed, pairs and steps, each
time without one thing, and validates all of them on the same pairs of pictures that are held out. ``--plot`` also draws
the curve, where Matplotlib is installed.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from vs_align.flow.network.model import AlignNet, NetOutput
from vs_align.train.curve import read_curve
from vs_align.train.flow.config import ConfigError, FlowConfig, read
from vs_align.train.flow.data import Pairs
from vs_align.train.flow.looks import LOOKS
from vs_align.train.flow.sources import Bank, Banks, SourceError, banks
from vs_align.train.flow.trainer import FlowObjective
from vs_align.train.flow.validation import SEED, Validation
from vs_align.train.ranks import DeviceError, Ranks, ranks
from vs_align.train.run import Run

FIGURES = ("mean_px", "pair_px", "median_px")
COLOURS = ("gamma", "matrix", "recoloured", "crushed", "light")
# Columns of the ablation: which looks, and the share of sides without any.
COLUMNS: dict[str, tuple[tuple[str, ...], float]] = {
    "plain": ((), 1.0),
    "ghost": (("ghost",), 0.0),
    "overlay": (("overlay",), 0.0),
    "codec": (("jpeg", "x264"), 0.0),
    "colour": (COLOURS, 0.0),
}

log = logging.getLogger("vs_align")


class Forgetful(AlignNet):
    """Hands nothing from one update to the next."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.update = NoMemory(self.update)


class NoMemory(nn.Module):
    """An update whose memory is zeros."""

    def __init__(self, update: nn.Module) -> None:
        super().__init__()
        self.inner = update

    def forward(self, alike: Tensor, features: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        step, spread, left = self.inner(alike, features, memory)
        return step, spread, torch.zeros_like(left)


class Plain(nn.Module):
    """A trained network whose four finest cells are averaged as they are, however sure each is."""

    def __init__(self, net: AlignNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, ref: Tensor, clip: Tensor) -> NetOutput:
        found = self.net(ref, clip)
        flow, spread = (F.avg_pool2d(part, 2) for part in found.steps[-1])
        return replace(found, flow=flow, spread=spread)


@dataclass(frozen=True)
class Variant:
    """One row: what differs from the whole.

    Attributes:
        changes: of the configuration.
        net: of the network's sizes.
        kind: the network's class.
        photographs: whether real pictures are trained on.
        then: what is made of the network after its training; the training is the whole's.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    net: dict[str, Any] = field(default_factory=dict)
    kind: type[AlignNet] = AlignNet
    photographs: bool = True
    then: Callable[[AlignNet], nn.Module] | None = None


def without(*names: str) -> Variant:
    return Variant({"looks": tuple(look for look in LOOKS if look not in names)})


VARIANTS = {
    "all": Variant(),
    "no real pictures": Variant(photographs=False),
    "no painted pictures": Variant({"painted": 0.0}),
    "no looks": Variant({"looks": ()}),
    "no ghost": without("ghost"),
    "no overlay": without("overlay"),
    "no x264, no jpeg": without("x264", "jpeg"),
    "no memory": Variant(kind=Forgetful),
    "cells averaged without spread": Variant(then=Plain),
    "one update for each scale": Variant(net={"updates": (1, 1, 1, 1)}),
    "correlation one cell far": Variant(net={"reach": 1}),
}


def main() -> int:
    options = parsed()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    log.setLevel(logging.INFO)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.curve:
        return curve(options.curve, options.plot)
    try:
        ablation(options)
    except (ConfigError, SourceError, DeviceError) as fault:
        sys.stderr.write(f"flow_training.py: {fault}\n")
        return 2
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curve", type=Path, help="folder of a run: print its curve and do nothing else")
    parser.add_argument("--plot", type=Path, help="also draw the curve, into this file")
    parser.add_argument("--footage", type=Path, help="films and pictures to train on; some of them are held out")
    parser.add_argument("--config", default="medium", help="the configuration that is varied (medium)")
    parser.add_argument("--steps", type=int, default=600, help="of each training (600)")
    parser.add_argument("--pairs", type=int, default=48, help="of each validation (48)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--device", help='"cpu", "cuda"; default: CUDA where it works')
    parser.add_argument("--threads", type=int, default=0, help="threads of torch on a CPU")
    options = parser.parse_args()
    if not options.curve and not options.footage:
        parser.error("give --footage for the ablation, or --curve for a run's curve")
    return options


# ---------------------------------------------------------------- the curve of a run


def curve(folder: Path, plot: Path | None) -> int:
    rows = read_curve(folder)
    if not rows:
        sys.stderr.write(f"flow_training.py: there is no curve in {folder}\n")
        return 2
    steps: dict[int, dict[str, float]] = {}
    for step, name, value in rows:
        steps.setdefault(step, {})[name] = value
    print("| step | loss | mean, px | median of pairs, px | median of cells, px |\n|---|---|---|---|---|")
    losses: list[float] = []
    for step, values in sorted(steps.items()):
        losses += [values["loss"]] if "loss" in values else []
        if FIGURES[0] in values:
            loss = f"{sum(losses) / len(losses):.3f}" if losses else ""
            print(f"| {step} | {loss} | " + " | ".join(f"{values[name]:.3f}" for name in FIGURES) + " |")
            losses = []
    print("\nThe loss is the mean since the row before.")
    if plot:
        draw(steps, plot)
    return 0


def draw(steps: dict[int, dict[str, float]], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.stderr.write("flow_training.py: Matplotlib is not installed, so nothing is drawn\n")
        return
    figure = Figure(figsize=(8, 4))
    axes = figure.add_subplot()
    for name in ("loss", *FIGURES):
        points = [(step, values[name]) for step, values in sorted(steps.items()) if name in values]
        axes.plot(*zip(*points, strict=True), label=name)
    axes.set(xlabel="step", yscale="log")
    axes.legend()
    figure.savefig(path)


# ---------------------------------------------------------------- the ablation


def ablation(options: argparse.Namespace) -> None:
    # What is validated is the end, and here.
    only_last = {"validate_every": options.steps, "validation_pairs": 1, "checkpoint_every": options.steps}
    config = replace(read(options.config), steps=options.steps, **only_last)
    pictures = banks(config, options.footage)
    checks = validations(config, pictures.validation, options.pairs)
    with ranks(options.device) as own:
        print(f"Configuration {options.config}, {config.steps} steps of {config.batch} pairs, {own.device.type};")
        print(f"{options.pairs} pairs for each column. Mean error in pixels; in brackets the median of pairs.\n")
        print(f"| | {' | '.join(checks)} | minutes |\n|---|{'---|' * len(checks)}---|", flush=True)
        whole: Any = None
        for name in options.variants:
            began = time.monotonic()
            variant = VARIANTS[name]
            log.info("%s", name)
            if variant.then is None:
                net: nn.Module = trained(config, pictures, own, variant)
                whole = net if name == "all" else whole
            else:
                whole = whole or trained(config, pictures, own, VARIANTS["all"])
                net = variant.then(whole)
            cells = [figures(check, net, own) for check in checks.values()]
            print(f"| {name} | {' | '.join(cells)} | {(time.monotonic() - began) / 60:.1f} |", flush=True)


def validations(config: FlowConfig, bank: Bank, count: int) -> dict[str, Validation]:
    """Return the validation of each column; the same pictures and warps in all of them."""
    columns = {"all looks": (config.looks, config.plain), **COLUMNS}
    return {
        name: Validation(Pairs(bank, config.size, SEED, looks, plain), count)
        for name, (looks, plain) in columns.items()
    }


def trained(config: FlowConfig, pictures: Banks, own: Ranks, variant: Variant) -> AlignNet:
    """Train a network from nothing as a variant says."""
    config = replace(config, net=replace(config.net, **variant.net), **variant.changes)
    real = pictures.training.real if variant.photographs else ()
    used = Banks(Bank(real, config.painted), pictures.validation)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(FlowObjective(config, lambda: used, variant.kind), config, Path(folder), own)
        run.go_on()
    net: AlignNet = run.net
    return net


def figures(check: Validation, net: nn.Module, own: Ranks) -> str:
    errors = check.errors(lambda ref, clip: net(ref, clip).flow, own.device)
    return f"{errors['mean_px']:.3f} ({errors['pair_px']:.3f})"


# Processes that make pairs are begun anew, and read this file.
if __name__ == "__main__":
    sys.exit(main())
