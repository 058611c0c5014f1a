"""What a training run is told, and the check of the file that tells it."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .looks import LOOKS

__all__ = ["ConfigError", "FlowConfig", "NetConfig", "read"]

_PACKAGED = Path(__file__).parent / "configs"


class ConfigError(ValueError):
    """A configuration file that cannot be used. One line that says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """Sizes of the network; see `vs_align.flow.network.model.AlignNet`."""

    features: int = 32
    memory: int = 32
    width: int = 96
    reach: int = 3
    updates: tuple[int, ...] = (2, 2, 2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """A training run of the alignment network.

    Attributes:
        seed: of the network's first weights and of every pair.
        steps: how often the network's weights are changed; 0: they stay as they are.
        judge_steps: how often the judge's are, after that; 0: it stays as it is.
        judge_learning_rate: the largest for the judge.
        batch: pairs for each step, over all processes.
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
        validate_every: steps from one validation to the next.
        validation_pairs: how many pairs a validation uses.
        checkpoint_every: steps from one checkpoint to the next.
        workers: processes that make pairs, for each training process.
        mixed_precision: compute in half precision on CUDA, in bfloat16 on a CPU.
        net: sizes of the network.
    """

    seed: int = 1
    steps: int = 4000
    judge_steps: int = 500
    judge_learning_rate: float = 2e-3
    batch: int = 4
    size: int = 256
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    frames: int = 4
    painted: float = 0.35
    photographs: bool = True
    plain: float = 0.25
    looks: tuple[str, ...] = tuple(LOOKS)
    held_out: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    validate_every: int = 500
    validation_pairs: int = 96
    checkpoint_every: int = 250
    workers: int = 1
    mixed_precision: bool = False
    net: NetConfig = field(default_factory=NetConfig)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as a file holds them."""
        return asdict(self)


_AT_LEAST = {
    "seed": 0,
    "steps": 0,
    "judge_steps": 0,
    "batch": 1,
    "size": 64,
    "frames": 1,
    "validate_every": 1,
    "validation_pairs": 1,
    "checkpoint_every": 1,
    "workers": 0,
    "features": 2,
    "memory": 1,
    "width": 3,
    "reach": 1,
}
# Pictures are drawn at twice the size; larger ones would show little but enlarged pixels.
_MOST_SIZE = 1024
_SHARES = ("painted", "plain")


def read(name: str | Path) -> FlowConfig:
    """Read a configuration: a YAML file's path, or the name of one that comes with the package ("small",
    "medium", "full").

    Raises:
        ConfigError: there is no such file, or it says something that cannot be.
    """
    import yaml

    path = Path(name)
    if not path.suffix and not path.is_file():
        path = _PACKAGED / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in _PACKAGED.glob("*.yaml")))
        raise ConfigError(f"there is no configuration {name}: give a YAML file's path or one of {known}")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path} is not YAML ({' '.join(str(fault).split())[:120]}): correct it") from fault
    if not isinstance(loaded, Mapping):
        raise ConfigError(f"{path} holds no keys and values: write one `key: value` a line")
    return from_dict(loaded, str(path))


def from_dict(values: Mapping[str, Any], where: str) -> FlowConfig:
    """Return the configuration that a mapping describes; ``where`` names it in messages."""
    values = dict(values)
    net = values.pop("net", {})
    if not isinstance(net, Mapping):
        raise ConfigError(f"{where}: net must hold keys and values, not {net!r}")
    config = FlowConfig(
        net=NetConfig(**_fitting(NetConfig, net, f"{where}: net")), **_fitting(FlowConfig, values, where)
    )
    _check(config, where)
    return config


def _check(config: FlowConfig, where: str) -> None:
    """Refuse values that do not go together or that no single rule covers."""
    unknown = [look for look in config.looks if look not in LOOKS]
    if unknown:
        raise ConfigError(f"{where}: unknown looks {', '.join(unknown)}; there are {', '.join(LOOKS)}")
    if config.size % 32 or config.size > _MOST_SIZE:
        raise ConfigError(f"{where}: size must be a multiple of 32 and at most {_MOST_SIZE}, not {config.size}")
    if len(config.net.updates) != 4 or min(config.net.updates) < 1:
        raise ConfigError(f"{where}: net.updates must be four numbers of 1 and up, not {list(config.net.updates)}")
    if config.net.width % 3:
        raise ConfigError(f"{where}: net.width must be a multiple of 3, not {config.net.width}")
    if not 0 < config.learning_rate <= 1 or not 0 <= config.weight_decay <= 1:
        raise ConfigError(f"{where}: learning_rate must be above 0, weight_decay 0 or more, and neither above 1")
    if "" in (*config.held_out, *config.unused):
        raise ConfigError(f"{where}: a word in held_out and unused must not be empty, since every path has it")


def _fitting(kind: Any, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return values by the types of a dataclass's fields; refuse what is unknown, of another type or out of range."""
    known = {f.name: f for f in fields(kind) if f.name != "net"}
    if unknown := [str(key) for key in values if key not in known]:
        raise ConfigError(f"{where}: unknown key {unknown[0]}; there are {', '.join(known)}")
    return {key: _value(known[key], value, f"{where}: {key}") for key, value in values.items()}


def _value(known: Any, value: Any, where: str) -> Any:
    default = known.default if known.default is not MISSING else known.default_factory()
    if isinstance(default, tuple):
        return _several(default, known.name, value, where)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ConfigError(f"{where} must be true or false, not {value!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = "; YAML wants a point in it, as in 5.0e-4" if _is_number(value) else ""
        raise ConfigError(f"{where} must be a number, not {value!r}{hint}")
    if isinstance(default, int) and not isinstance(value, int):
        raise ConfigError(f"{where} must be a whole number, not {value!r}")
    if value < _AT_LEAST.get(known.name, value):
        raise ConfigError(f"{where} must be {_AT_LEAST[known.name]} or more, not {value}")
    if known.name in _SHARES and not 0 <= value <= 1:
        raise ConfigError(f"{where} must be from 0 to 1, not {value}")
    return type(default)(value)


def _is_number(value: Any) -> bool:
    """Say whether a word reads as a number to people."""
    try:
        return isinstance(value, str) and float(value) is not None
    except ValueError:
        return False


def _several(default: tuple[Any, ...], name: str, value: Any, where: str) -> tuple[Any, ...]:
    kind = int if name == "updates" else str
    if not isinstance(value, list) or not all(isinstance(v, kind) and not isinstance(v, bool) for v in value):
        raise ConfigError(f"{where} must be a list of {'whole numbers' if kind is int else 'words'}, not {value!r}")
    return tuple(value)
