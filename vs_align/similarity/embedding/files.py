"""Files of embedding networks, and those of frame networks in particular."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models import ModelError
from ...network_files import NetworkFiles
from .numpy_net import FrameSizes, shapes

__all__ = ["FILES", "FRAME", "SEQUENCE", "read_frame_net", "save_frame_net"]

FILES = NetworkFiles(
    name="embedding network",
    format="vs_align embedding",
    version="1",
    env="VS_ALIGN_EMBEDDING",
    packaged="embedding.safetensors",
    argument="model",
    command="vs-align train embedding",
)
FRAME, SEQUENCE = "frame", "sequence"
"""The kinds of networks."""

# No network that this reads is larger: a file that says so is not read.
_WIDEST = 4096


def read_frame_net(path: Path) -> tuple[dict[str, NDArray[Any]], int]:
    """Read a frame network.

    Returns:
        Its tensors by name, and how many frames on each side its high pass along time spans.

    Raises:
        ModelError: the file is of something else, or does not hold what it describes.
    """
    said = FILES.header(path)
    if said.kind != FRAME:
        raise ModelError(f"{path} holds other weights than a frame network's: give another file")
    try:
        sizes, reach = FrameSizes(*(int(said.config[name]) for name in FrameSizes._fields)), int(said.config["reach"])
    except (KeyError, TypeError, ValueError) as fault:
        raise FILES.undescribed(path) from fault
    if not all(0 < size <= _WIDEST for size in sizes) or not 0 < reach <= _WIDEST:
        raise FILES.undescribed(path)
    return FILES.tensors(path, shapes(sizes)), reach


def save_frame_net(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], sizes: FrameSizes, reach: int, **said: str
) -> None:
    """Write a frame network in half precision; a file that is there is replaced at once or not at all.

    Args:
        path: a name that ends in .safetensors.
        tensors: of the shapes that `shapes` gives.
        sizes: of its layers.
        reach: frames on each side that its high pass along time spans.
        said: what the file says of itself besides.
    """
    halves = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    FILES.save(path, halves, {**sizes._asdict(), "reach": reach}, kind=FRAME, **said)
