"""The network's weights: which file, what it must say of itself, saving and loading."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ...models import ModelError, load_metadata, load_state_dict
from .model import AlignNet

__all__ = ["ENV", "FORMAT", "PACKAGED", "VERSION", "load_weights", "located", "save_weights"]

ENV = "VS_ALIGN_FLOW"
"""Environment variable that names a local file to use in place of the package's."""
PACKAGED = Path(__file__).resolve().parents[2] / "weights" / "flow.safetensors"
"""The weights that come with the package."""
FORMAT, VERSION = "vs_align.flow", "1"
"""What a file says of itself. The version changes when the same numbers would mean another network."""


def located(local: str | os.PathLike[str] | None = None) -> Path:
    """Return the file to load: ``local``, else the one that the environment variable names, else the package's.

    Raises:
        ModelError: there is no such file.
    """
    if local is not None:
        path, advice = Path(local).expanduser(), "pass the path of an existing file, or none to use the package's"
    elif named := os.environ.get(ENV):
        path, advice = Path(named).expanduser(), f"correct or unset the environment variable {ENV}"
    else:
        path, advice = PACKAGED, "install vs_align again, or pass weights="
    if not path.is_file():
        raise ModelError(f"there is no flow weights file at {path}: {advice}")
    return path


def save_weights(path: str | os.PathLike[str], net: AlignNet) -> None:
    """Write a network's weights and hyperparameters; a file that is there is replaced at once or not at all.

    Args:
        path: a name that ends in .safetensors.
        net: on any device.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"the weights' file name must end in .safetensors, not {path.name!r}")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    metadata = {"format": FORMAT, "version": VERSION, "config": json.dumps(net.config)}
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        save_file(tensors, part, metadata)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_weights(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> AlignNet:
    """Return the network that a file describes, ready to estimate, on a device.

    Args:
        path: a file that `save_weights` wrote.
        device: where the network is put.

    Raises:
        ModelError: the file cannot be read, is of something else, or of another version.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ModelError(f"{path} is not a .safetensors file: give weights that vs-align train flow wrote")
    net = _described(path, load_metadata(path))
    tensors = load_state_dict(path)
    wanted = {name: tensor.shape for name, tensor in net.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        raise ModelError(f"{path} does not hold the weights of the network that it describes: give another file")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ModelError(f"{path} holds weights that are not finite: give another file")
    net.load_state_dict(tensors)
    net.eval().requires_grad_(False).to(device)
    return net


def _described(path: Path, metadata: dict[str, str]) -> AlignNet:
    """Return a network as a file's metadata describes it."""
    if metadata.get("format") != FORMAT:
        raise ModelError(f"{path} holds other weights than those of engine 'flow': give a file of vs-align train flow")
    version = metadata.get("version")
    if version != VERSION:
        raise ModelError(
            f"{path} is of version {str(version)[:20]!r}, and this vs_align reads version {VERSION!r}: give weights "
            "that were trained with it, or none to use the package's"
        )
    try:
        config: dict[str, Any] = json.loads(metadata["config"])
        return AlignNet(**config)
    except (KeyError, TypeError, ValueError, RuntimeError) as fault:
        raise ModelError(f"{path} does not describe a network that this vs_align knows: give another file") from fault
