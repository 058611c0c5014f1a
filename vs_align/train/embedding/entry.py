"""``vs-align train embedding``: embeddings of frames, for one of several objectives.

A configuration says by its key ``objective`` which one: "sequence" (frames of an action that mean the same, the module
`sequence` here) or "matching" (the same frame in another release, `matching`). Such a module has ``CONFIG``, the
dataclass that the file is held against, which has a field ``objective`` too, and ``train(config, order, ranks)``, which
returns the path of the weights.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..command import Order
    from ..ranks import Ranks

__all__ = ["CONFIGS", "NEEDS", "OBJECTIVES", "train"]

NEEDS = ("yaml", "tensorboard", "safetensors", "av")
OBJECTIVES = ("sequence", "matching")
CONFIGS = Path(__file__).parent / "configs"


def train(order: "Order", ranks: "Ranks") -> Path:
    """Train as ordered; return the weights' path."""
    from ..configs import ConfigError, from_dict, load_yaml

    values, path = load_yaml(order.config, CONFIGS)
    kind = values.get("objective")
    if kind not in OBJECTIVES:
        raise ConfigError(f"{path}: objective must be one of {', '.join(OBJECTIVES)}, not {kind!r}")
    module = importlib.import_module(f"{__package__}.{kind}")
    made: Path = module.train(from_dict(module.CONFIG, values, str(path)), order, ranks)
    return made
