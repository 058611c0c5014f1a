"""``vs-align train offset``: a predictor of the offset of two clips."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...analysis.offset_predictors import TrainedPredictor
    from ..command import Order
    from ..ranks import Ranks
    from .config import OffsetConfig
    from .scenes import Material

__all__ = ["NEEDS", "train"]

NEEDS = ("yaml", "sklearn", "tensorboard", "safetensors", "av")

_log = logging.getLogger("vs_align.train")
_SEED_OF_HELD = 1


def train(order: "Order", ranks: "Ranks") -> Path:
    """Train as ordered; return the path of the predictor's file."""
    from ..configs import ConfigError, read
    from .config import CONFIGS, OffsetConfig
    from .evidence import fit_evidence
    from .scenes import pairs

    config = read(OffsetConfig, order.config, CONFIGS)
    if order.begin is not None:
        raise ConfigError("a predictor of offsets is fitted from nothing: leave --begin out")
    if ranks.count > 1 and config.kind != "cnn":
        raise ConfigError(f"{config.kind} is fitted by one process: start it without torchrun")
    training, held = _materials(config, order.footage)
    known = list(pairs(held, config.length, config.pairs, config.seed + _SEED_OF_HELD))
    cut = list(pairs(training, config.length, config.pairs, config.seed))
    evidence = fit_evidence(cut, known)
    _log.info("profiles weigh %s, none %.2f", ", ".join(f"{w:.2f}" for w in evidence.weights), evidence.none)
    _log.info("calibration: scale %.3f, shift %.3f", evidence.scale, evidence.shift)
    if config.kind == "cnn":
        from ..run import train as trained
        from .cnn import OffsetObjective

        return trained(OffsetObjective(config, training, known, evidence), config, order.out, ranks)
    if config.kind == "blend":
        from ...analysis.offset_predictors import TrainedPredictor

        made = TrainedPredictor("blend", config.similarity, config.length, config.side, evidence, {})
    else:
        from .fitting import fit

        made = fit(config, cut, known, evidence)
    return _written(made, order.out)


def _materials(config: "OffsetConfig", footage: Path | None) -> "tuple[list[Material], list[Material]]":
    """Return compared views to train on, and others for validation."""
    from .scenes import SourceError, films, material
    from .views import Difficulty

    if footage is None:
        raise SourceError("a predictor of offsets is trained on films: name their folder with --footage")
    every = films(footage, (), config.unused)
    if not every:
        raise SourceError(f"{footage} holds no films: give --footage a folder that does")
    held = films(footage, config.held_out, config.unused) if config.held_out else []
    if not held or len(held) == len(every):
        raise SourceError(f"held_out must name some of the films in {footage}, not all and not none")
    _log.info("%d films to train on, %d for validation", len(every) - len(held), len(held))
    made = [list(material(part, config, tuple(Difficulty))) for part in (sorted({*every} - {*held}), held)]
    if not all(any(not each.strangers for each in part) for part in made):
        raise SourceError(f"no film in {footage} is long enough: a scene has {config.length} frames and 30 more")
    return made[0], made[1]


def _written(made: "TrainedPredictor", out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "offset.safetensors"
    made.save(path)
    return path
