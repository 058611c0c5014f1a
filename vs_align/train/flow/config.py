"""What a training run of the alignment network is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import configs
from ..configs import ConfigError, RunConfig, number, words
from .looks import LOOKS

__all__ = ["ConfigError", "FlowConfig", "NetConfig", "from_dict", "read"]

_PACKAGED = Path(__file__).parent / "configs"
# Pictures are drawn at twice the size; larger ones would show little but enlarged pixels.
_MOST_SIZE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """Sizes of the network; see `vs_align.flow.network.model.AlignNet`."""

    features: int = number(32, least=2)
    memory: int = number(32, least=1)
    width: int = number(96, least=3)
    reach: int = number(3, least=1)
    updates: tuple[int, ...] = (2, 2, 2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig(RunConfig):
    """A training run of the alignment network; what every run is told is in `RunConfig`.

    Attributes:
        steps: how often the network's weights are changed; 0: they stay as they are.
        judge_steps: how often the judge's are, after that; 0: it stays as it is.
        judge_learning_rate: the largest for the judge.
        size: side of the pairs in pixels, a multiple of 32.
        learning_rate: the largest; it rises over the first twentieth of the run and falls to nothing.
        weight_decay: of AdamW.
        frames: taken from each film.
        painted: share of pictures that are painted by code, 0 to 1.
        photographs: also use those that scikit-image and scikit-learn carry.
        plain: share of sides that keep their look, 0 to 1.
        looks: which looks the others get.
        held_out: words; films and pictures with one of them in their path are for validation alone.
        unused: words; those with one of them in their path are not used at all.
        validation_pairs: how many pairs a validation uses.
        net: sizes of the network.
    """

    steps: int = number(4000, least=0)
    judge_steps: int = number(500, least=0)
    judge_learning_rate: float = 2e-3
    size: int = number(256, least=64)
    frames: int = number(4, least=1)
    painted: float = number(0.35, least=0, most=1)
    photographs: bool = True
    plain: float = number(0.25, least=0, most=1)
    looks: tuple[str, ...] = words(tuple(LOOKS), tuple(LOOKS))
    held_out: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    validation_pairs: int = number(96, least=1)
    net: NetConfig = field(default_factory=NetConfig)

    def check(self, where: str) -> None:
        """Refuse values that do not go together or that no single rule covers."""
        RunConfig.check(self, where)
        if self.size % 32 or self.size > _MOST_SIZE:
            raise ConfigError(f"{where}: size must be a multiple of 32 and at most {_MOST_SIZE}, not {self.size}")
        if len(self.net.updates) != 4 or min(self.net.updates) < 1:
            raise ConfigError(f"{where}: net.updates must be four numbers of 1 and up, not {list(self.net.updates)}")
        if self.net.width % 3:
            raise ConfigError(f"{where}: net.width must be a multiple of 3, not {self.net.width}")
        if "" in (*self.held_out, *self.unused):
            raise ConfigError(f"{where}: a word in held_out and unused must not be empty, since every path has it")


def read(name: str | Path) -> FlowConfig:
    """Read a configuration: a YAML file's path, or the name of one that comes with the package ("small",
    "medium", "full").

    Raises:
        ConfigError: there is no such file, or it says something that cannot be.
    """
    return configs.read(FlowConfig, name, _PACKAGED)


def from_dict(values: Mapping[str, Any], where: str) -> FlowConfig:
    """Return the configuration that a mapping describes; ``where`` names it in messages."""
    return configs.from_dict(FlowConfig, values, where)
