"""The network's weights: which file, what it must say of itself, saving and loading."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...network_files import NetworkFiles
from .model import AlignNet

if TYPE_CHECKING:
    import torch

__all__ = ["FILES", "load_weights", "save_weights"]

FILES = NetworkFiles(
    name="flow weights file",
    format="vs_align.flow",
    version="1",
    env="VS_ALIGN_FLOW",
    packaged="flow.safetensors",
    argument="weights",
    command="vs-align train flow",
)


def save_weights(path: str | os.PathLike[str], net: AlignNet) -> None:
    """Write a network's weights and hyperparameters; a file that is there is replaced at once or not at all.

    Args:
        path: a name that ends in .safetensors.
        net: on any device.
    """
    FILES.save(path, net.state_dict(), net.config)


def load_weights(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> AlignNet:
    """Return the network that a file describes, ready to estimate, on a device.

    Args:
        path: a file that `save_weights` wrote.
        device: where the network is put.

    Raises:
        ModelError: the file cannot be read, is of something else, or of another version.
    """
    path = Path(path)
    said = FILES.header(path)
    try:
        net = AlignNet(**said.config)
    except (TypeError, ValueError, RuntimeError) as fault:
        raise FILES.undescribed(path) from fault
    return FILES.fill(net, path, device)
