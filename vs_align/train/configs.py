"""Configurations: small YAML files, held against a frozen dataclass when they are read.

A dataclass says by its fields what a file may hold: a field's name is the key, its default the default and the kind
of value (a number, true or false, a word, a list, or another dataclass), and `number`, `word` and `words` say what
range or choice there is. What no single field can say is checked by the dataclass's own ``check``:

    @dataclass(frozen=True, slots=True, kw_only=True)
    class MyConfig(RunConfig):
        width: int = number(64, least=1)

        def check(self, where: str) -> None:
            RunConfig.check(self, where)
            if self.width % 3:
                raise ConfigError(f"{where}: width must be a multiple of 3, not {self.width}")

    config = read(MyConfig, "small", Path(__file__).parent / "configs")
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from .faults import TrainFault

__all__ = ["ConfigError", "RunConfig", "from_dict", "load_yaml", "number", "read", "word", "words"]


class ConfigError(TrainFault, ValueError):
    """A configuration that cannot be used. One line that says what to change."""


def number(default: float, *, least: float | None = None, most: float | None = None) -> Any:
    """Return a field that holds a number, a whole one where the default is; ``least`` and ``most`` are allowed."""
    return field(default=default, metadata={"least": least, "most": most})


def word(default: str, choices: Sequence[str]) -> Any:
    """Return a field that holds one of some words."""
    return field(default=default, metadata={"choices": tuple(choices)})


def words(default: Sequence[str] = (), choices: Sequence[str] = ()) -> Any:
    """Return a field that holds a list of words; without choices any but the empty one."""
    return field(default=tuple(default), metadata={"choices": tuple(choices)})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What every run is told.

    Attributes:
        seed: of the network's first weights and of every sample.
        steps: how often the weights are changed.
        batch: samples for each step, over all processes.
        learning_rate: the largest.
        weight_decay: of the optimizer.
        validate_every: steps from one validation to the next.
        checkpoint_every: steps from one checkpoint to the next.
        workers: processes that make samples, for each training process; 0: it makes them itself.
        mixed_precision: compute in half precision on CUDA, in bfloat16 on a CPU.
    """

    seed: int = number(1, least=0, most=(1 << 32) - 1)
    steps: int = number(1000, least=0)
    batch: int = number(4, least=1)
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    validate_every: int = number(500, least=1)
    checkpoint_every: int = number(250, least=1)
    workers: int = number(1, least=0)
    mixed_precision: bool = False

    def check(self, where: str) -> None:
        """Refuse values that do not go together; ``where`` names the configuration in messages."""
        if not 0 < self.learning_rate <= 1 or not 0 <= self.weight_decay <= 1:
            raise ConfigError(f"{where}: learning_rate must be above 0, weight_decay 0 or more, and neither above 1")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as a file holds them."""
        return asdict(self)


def read[T](kind: type[T], name: str | Path, packaged: Path) -> T:
    """Read a configuration.

    Args:
        kind: the dataclass that it is held against.
        name: a YAML file's path, or the name of one that comes with the package.
        packaged: the folder of those.

    Raises:
        ConfigError: there is no such file, or it says something that cannot be.
    """
    values, path = load_yaml(name, packaged)
    return from_dict(kind, values, str(path))


def load_yaml(name: str | Path, packaged: Path) -> tuple[dict[str, Any], Path]:
    """Return a configuration's keys and values as they stand in its file, and the file; see `read`."""
    import yaml

    path = Path(name)
    if not path.suffix and not path.is_file():
        path = packaged / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in packaged.glob("*.yaml")))
        raise ConfigError(f"there is no configuration {name}: give a YAML file's path or one of {known}")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path} is not YAML ({' '.join(str(fault).split())[:120]}): correct it") from fault
    if not isinstance(loaded, Mapping):
        raise ConfigError(f"{path} holds no keys and values: write one `key: value` a line")
    return dict(loaded), path


def from_dict[T](kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Return the configuration that a mapping describes; ``where`` names it in messages."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := [str(key) for key in values if key not in known]:
        raise ConfigError(f"{where}: unknown key {unknown[0]}; there are {', '.join(known)}")
    config = kind(**{key: _value(known[key], value, where) for key, value in values.items()})
    if hasattr(config, "check"):
        config.check(where)
    return config


def _value(known: Any, value: Any, where: str) -> Any:
    """Return a value by its field; refuse one of another kind, out of range or not among the choices."""
    default = known.default if known.default is not MISSING else known.default_factory()
    if is_dataclass(default):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: {known.name} must hold keys and values, not {value!r}")
        return from_dict(type(default), value, f"{where}: {known.name}")
    if isinstance(default, tuple):
        return _several(default, known, value, where)
    where = f"{where}: {known.name}"
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ConfigError(f"{where} must be true or false, not {value!r}")
        return value
    if isinstance(default, str):
        return _word(known.metadata.get("choices", ()), value, where)
    return _number(default, known.metadata, value, where)


def _number(default: float, limits: Mapping[str, Any], value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = "; YAML wants a point in it, as in 5.0e-4" if _reads_as_number(value) else ""
        raise ConfigError(f"{where} must be a number, not {value!r}{hint}")
    if isinstance(default, int) and not isinstance(value, int):
        raise ConfigError(f"{where} must be a whole number, not {value!r}")
    least, most = limits.get("least"), limits.get("most")
    # What is no number at all is not within either.
    if least is not None and most is not None and not least <= value <= most:
        raise ConfigError(f"{where} must be from {least} to {most}, not {value}")
    if least is not None and value < least:
        raise ConfigError(f"{where} must be {least} or more, not {value}")
    if not abs(value) <= sys.float_info.max:
        raise ConfigError(f"{where} must be a finite number, not {str(value)[:20]}")
    return type(default)(value)


def _word(choices: Sequence[str], value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where} must be a word, not {value!r}")
    if choices and value not in choices:
        raise ConfigError(f"{where} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _several(default: tuple[Any, ...], known: Any, value: Any, where: str) -> tuple[Any, ...]:
    kind = type(default[0]) if default else str
    allowed = int | float if kind is float else kind
    if not isinstance(value, list) or not all(isinstance(v, allowed) and not isinstance(v, bool) for v in value):
        names = {int: "whole numbers", float: "numbers", str: "words"}
        raise ConfigError(f"{where}: {known.name} must be a list of {names[kind]}, not {value!r}")
    choices = known.metadata.get("choices", ())
    if choices and (unknown := [v for v in value if v not in choices]):
        raise ConfigError(f"{where}: unknown {known.name} {', '.join(unknown)}; there are {', '.join(choices)}")
    return tuple(kind(v) for v in value)


def _reads_as_number(value: Any) -> bool:
    """Say whether a word reads as a number to people."""
    try:
        return isinstance(value, str) and float(value) is not None
    except ValueError:
        return False
