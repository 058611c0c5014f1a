"""Camera clocks in files, JSON or YAML; whatever a file says is checked before it is believed."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checks import Checks
from ..flashes import Clock, FlashError, model_from_dict, model_to_dict
from .cameras import Camera
from .clip_info import ClipInfo
from .store import write_text

__all__ = ["check_path", "read_model", "write_model"]

_YAML = {".yaml", ".yml"}
_ENDINGS = {".json", *_YAML}
_INFO = ("length", "width", "height", "fingerprint")


def check_path(check: Checks, path: object) -> Path:
    """Return a path whose ending says how it is written.

    Raises:
        TypeError, ValueError: it is no path, or has another ending.
        RuntimeError: YAML, without PyYAML.
    """
    try:
        where = Path(path)  # type: ignore[arg-type]
    except TypeError:
        check.type_error(f"path must be a path, not {type(path).__name__}.")
    if where.suffix.lower() not in _ENDINGS:
        check.value_error(f"{where} must end in .json, .yaml or .yml.")
    if where.suffix.lower() in _YAML and importlib.util.find_spec("yaml") is None:
        check.runtime_error(f'{where} needs PyYAML; install with: pip install "vs_align[flash]", or name it .json.')
    return where


def write_model(path: Path, clocks: Mapping[str, Clock], base: str, cameras: Sequence[Camera]) -> None:
    """Write the clocks, and what tells these recordings from others; whole or not at all."""
    model = model_to_dict(clocks, base)
    known = {camera.name: _info(ClipInfo.of(camera.clip)) for camera in cameras}
    # The base camera's name comes last: a file that has it was not cut off.
    data = {"model": model["model"], "cameras": known, "base_cam": base}
    if path.suffix.lower() in _YAML:
        import yaml

        write_text(path, yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    else:
        write_text(path, json.dumps(data, indent=2) + "\n")


def _info(info: ClipInfo) -> dict[str, Any]:
    return {key: getattr(info, key) for key in _INFO}


def read_model(check: Checks, path: Path, cameras: Sequence[Camera]) -> tuple[dict[str, Clock], str]:
    """Return the clocks of these cameras, in their order, and the base camera's name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no model, cut off, has YAML tags, or is of other cameras.
    """
    data = _parsed(check, path)
    try:
        clocks, base = model_from_dict(data)
    except FlashError as error:
        check.value_error(f"{path} is refused: {str(error).removeprefix('flash: ')}")
    names = [camera.name for camera in cameras]
    if set(names) != set(clocks):
        check.value_error(
            f"{path} is refused: it is of other cameras, {', '.join(clocks)}, not {', '.join(names)}; pass names to "
            "say which is which."
        )
    known = data.get("cameras", {})
    for camera in cameras:
        # Models of other programs say nothing of the recordings.
        different = _difference(known.get(camera.name), camera) if isinstance(known, dict) else "nothing known"
        if different:
            check.value_error(f"{path} is refused: it is of other recordings, {camera.name} has {different}.")
    return {name: clocks[name] for name in names}, base


def _difference(known: object, camera: Camera) -> str | None:
    if known is None:
        return None
    if not isinstance(known, dict) or any(key not in known for key in _INFO):
        return "nothing known of its length, size and pictures"
    made_of = ClipInfo(known["length"], known["width"], known["height"], None, known["fingerprint"])
    return made_of.difference(ClipInfo.of(camera.clip))


def _parsed(check: Checks, path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        check.value_error(f"{path} is refused: it is not a text file.")
    data = _yaml(check, path, text) if path.suffix.lower() in _YAML else _json(check, path, text)
    if not isinstance(data, dict) or "model" not in data:
        check.value_error(f"{path} is refused: it is no model of cameras.")
    if "base_cam" not in data:
        check.value_error(f"{path} is refused: it is cut off, it does not name its base_cam.")
    return data


def _json(check: Checks, path: Path, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        check.value_error(f"{path} is refused: it is cut off or no JSON.")


def _yaml(check: Checks, path: Path, text: str) -> object:
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.constructor.ConstructorError as error:
        check.value_error(
            f"{path} is refused: it has YAML tags, which are not loaded ({' '.join(str(error.problem).split())})."
        )
    except (yaml.YAMLError, ValueError, RecursionError):
        check.value_error(f"{path} is refused: it is cut off or no YAML.")
    if not text.endswith("\n") and isinstance(data, dict) and "cameras" in data:
        check.value_error(f"{path} is refused: its last line is cut off.")
    return data
