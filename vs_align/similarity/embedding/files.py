"""Files of embedding networks: where the packaged one is, what a file must say of itself, reading and writing."""

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models import ModelError
from .numpy_net import FrameSizes, shapes

__all__ = ["ENV", "FORMAT", "PACKAGED", "VERSION", "Header", "header", "located", "read_frame_net", "save_frame_net"]

FORMAT, VERSION = "vs_align embedding", "1"
"""What a file says of itself. The version changes when the same numbers would mean another network."""
ENV = "VS_ALIGN_EMBEDDING"
"""Environment variable that names a file to use in place of the package's."""
PACKAGED = Path(__file__).resolve().parents[2] / "weights" / "embedding.safetensors"
"""The network that comes with the package."""

_FRAME = "frame"
# No network that this reads is larger: a file that says so is not read.
_WIDEST = 4096


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    Attributes:
        kind: "frame" or "sequence".
        config: what describes the network.
    """

    kind: str
    config: dict[str, Any]


def located(local: str | os.PathLike[str] | None) -> Path:
    """Return the file to open: ``local``, else the one that the environment variable names, else the package's.

    Raises:
        ModelError: there is no such file.
    """
    if local is not None:
        path, advice = Path(local).expanduser(), "pass the path of an existing file, or none to use the package's"
    elif named := os.environ.get(ENV):
        path, advice = Path(named).expanduser(), f"correct or unset the environment variable {ENV}"
    else:
        path, advice = PACKAGED, "install vs_align again, or pass model="
    if not path.is_file():
        raise ModelError(f"there is no embedding network at {path}: {advice}")
    return path


def header(path: Path) -> Header:
    """Read what a file says of itself.

    Raises:
        ModelError: it is not a file of an embedding network of this version.
    """
    metadata = _opened(path, tensors=False)[0]
    if metadata.get("format") != FORMAT:
        raise ModelError(f"{path} is no embedding network: give a file of vs-align train embedding")
    version = metadata.get("version")
    if version != VERSION:
        raise ModelError(
            f"{path} is of version {str(version)[:20]!r}, and this vs_align reads version {VERSION!r}: give a network "
            "that was trained with it, or none to use the package's"
        )
    try:
        config = json.loads(metadata["config"])
    except (KeyError, ValueError) as fault:
        raise _undescribed(path) from fault
    if not isinstance(config, dict):
        raise _undescribed(path)
    return Header(metadata.get("kind", ""), config)


def read_frame_net(path: Path) -> tuple[dict[str, NDArray[Any]], int]:
    """Read a frame network.

    Returns:
        Its tensors by name, and how many frames on each side its high pass along time spans.

    Raises:
        ModelError: the file is of something else, or does not hold what it describes.
    """
    said = header(path)
    try:
        sizes, reach = FrameSizes(*(int(said.config[name]) for name in FrameSizes._fields)), int(said.config["reach"])
    except (KeyError, TypeError, ValueError) as fault:
        raise _undescribed(path) from fault
    if said.kind != _FRAME or not all(0 < size <= _WIDEST for size in sizes) or not 0 < reach <= _WIDEST:
        raise _undescribed(path)
    tensors = _opened(path, tensors=True)[1]
    if {name: tensor.shape for name, tensor in tensors.items()} != shapes(sizes):
        raise ModelError(f"{path} does not hold the weights of the network that it describes: give another file")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelError(f"{path} holds weights that are not finite: give another file")
    return tensors, reach


def save_frame_net(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], sizes: FrameSizes, reach: int
) -> None:
    """Write a frame network in half precision; a file that is there is replaced at once or not at all.

    Args:
        path: a name that ends in .safetensors.
        tensors: of the shapes that `shapes` gives.
        sizes: of its layers.
        reach: frames on each side that its high pass along time spans.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"the network's file name must end in .safetensors, not {path.name!r}")
    config = json.dumps({**sizes._asdict(), "reach": reach})
    metadata = {"format": FORMAT, "kind": _FRAME, "version": VERSION, "config": config}
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        save_file({name: np.ascontiguousarray(t, np.float16) for name, t in tensors.items()}, part, metadata)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _undescribed(path: Path) -> ModelError:
    return ModelError(f"{path} does not describe a network that this vs_align knows: give another file")


def _opened(path: Path, tensors: bool) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return a file's metadata and, where they are wanted, its tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys() if tensors else []
            return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, TypeError, ValueError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise ModelError(f"{path} cannot be read as a safetensors file ({reason}): give another file") from fault
