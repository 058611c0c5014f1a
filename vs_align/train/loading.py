"""Samples made ahead by processes of their own."""

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader

__all__ = ["loader", "moved"]


def loader(
    samples: Any,
    batches: Sequence[Sequence[int]],
    workers: int,
    device: torch.device,
    collate: Callable[[Sequence[Any]], Any] | None,
) -> Iterator[Any]:
    """Return an iterator over batches of samples.

    Args:
        samples: a map-style dataset.
        batches: the samples' numbers, batch by batch.
        workers: processes that make them; 0: this one.
        device: where they will go.
        collate: from a list of samples to a batch; None: torch's default.
    """
    made: DataLoader[Any] = DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        # A forked process would inherit locks of OpenCV's and FFmpeg's threads, and wait for ever.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_begun,
    )
    return iter(made)


def moved(batch: Any, device: torch.device) -> Any:
    """Return a batch with its tensors on a device: a tensor, or a mapping or a sequence of batches."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: moved(part, device) for name, part in batch.items()}
    if isinstance(batch, list | tuple):
        parts = [moved(part, device) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


def _begun(worker: int) -> None:
    """Keep a worker to one thread, since there are several, and leave Ctrl-C to the process that began it."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
