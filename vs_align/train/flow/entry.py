"""``vs-align train flow``: the network of spatial's engine "flow"."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..command import Order
    from ..ranks import Ranks

__all__ = ["NEEDS", "train"]

NEEDS = ("yaml", "tensorboard", "safetensors", "av")


def train(order: "Order", ranks: "Ranks") -> Path:
    """Train as ordered; return the weights' path."""
    from .config import read
    from .trainer import train as trained

    return trained(read(order.config), order.footage, order.out, ranks, order.begin)
