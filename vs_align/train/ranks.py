"""Several processes that train one network, started by torchrun; or one."""

import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from .faults import TrainFault

__all__ = ["DeviceError", "Ranks", "ranks"]


class DeviceError(TrainFault, ValueError):
    """A device that cannot be computed on. One line that says what to do."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """A process's place among those that train together.

    Attributes:
        place: its number, from 0.
        count: how many there are.
        device: where it computes.
    """

    place: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.place == 0

    def share(self, net: nn.Module) -> Any:
        """Return a network whose gradients are the mean over all processes."""
        if self.count == 1:
            return net
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(net, device_ids=ids)

    def averaged(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes, each of which has to ask; without gradients."""
        if self.count == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.count


@contextmanager
def ranks(device: str | None) -> Iterator[Ranks]:
    """Join the processes that torchrun started; without it there is one.

    Args:
        device: "cpu", "cuda" or "cuda:1"; None: CUDA where it works, else the CPU. Under torchrun each process takes
            the GPU of its own number.

    Raises:
        DeviceError: there is no such device.
    """
    count = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    where = _device(device, int(os.environ.get("LOCAL_RANK", "0")) if count > 1 else None)
    if count == 1:
        yield Ranks(0, 1, where)
        return
    if where.type == "cuda":
        torch.cuda.set_device(where)
    # DDP imports this, whose functions have the group of that moment as a default. Kept so, the group would outlive
    # its end below, and its threads the interpreter, which then aborts now and again. Now there is none to keep.
    importlib.import_module("torch.distributed.nn")
    distributed.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield Ranks(int(os.environ["RANK"]), count, where)
    finally:
        gc.collect()  # Networks that were shared refer to themselves, and to the group.
        distributed.destroy_process_group()


def _device(name: str | None, local: int | None) -> torch.device:
    """Return the device of a name; ``local``: this process's number among those of this machine."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as fault:
        raise DeviceError(f'device {name!r} is not known: give "cpu", "cuda" or "cuda:1"') from fault
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f'device {name!r} cannot be trained on: give "cpu", "cuda" or "cuda:1"')
    if device.type == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError(f'device {name!r} needs CUDA, which torch does not find: give "cpu"')
    if local is not None:
        device = torch.device("cuda", local)
    if (device.index or 0) >= (count := torch.cuda.device_count()):
        raise DeviceError(f"there is no GPU number {device.index}: torch finds {count}")
    return device
