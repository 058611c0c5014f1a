"""How well a network aligns two made views of one video: what a folder without labels allows. Needs torch."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from ..embedding.augment import Augmentation
from ..embedding.clips import Clips
from ..embedding.sampling import Sampler
from ..embedding.views import Batch, Views, batched
from .alignment import frame_errors, kendalls_tau

__all__ = ["made_views", "view_figures"]

_SEED = 977
"""Of the views: the same each time, so that networks can be compared."""


def made_views(clips: Clips, sampler: Sampler, augmentation: Augmentation, size: int, each: int) -> list[Batch]:
    """Return pairs of views of every video, each a batch of its own.

    Args:
        clips: the videos.
        sampler: which frames of them.
        augmentation: how far views differ in look.
        size: side of the frames in pixels.
        each: pairs of each video.
    """
    views = Views(clips, sampler, augmentation, size, _SEED, each=True)
    return [batched([views[n]]) for n in range(each * len(clips))]


def view_figures(net: Any, pairs: Iterable[Batch], device: torch.device) -> dict[str, float]:
    """Return the mean frame error of nearest neighbours between views, and Kendall's tau; nothing where none counts.

    Views of a single frame say nothing, and are left out.

    Args:
        net: a sequence network, in eval mode.
        pairs: as `made_views` returns them.
        device: the network's.
    """
    errors, taus = [], []
    for pair in pairs:
        with torch.no_grad():
            made = net(pair.frames.to(device), pair.valid.to(device)).float().cpu().numpy()
        kept = pair.valid.numpy()
        one, other = made[0][kept[0]], made[1][kept[1]]
        if min(len(one), len(other)) < 2:
            continue
        numbers, other_numbers = (pair.numbers[n].numpy()[kept[n]] for n in range(2))
        errors.append(frame_errors(one, other, numbers, other_numbers))
        taus.append(kendalls_tau(one, other))
    means = [float(part.mean()) for part in errors if len(part)]
    return {"frame_error": float(np.mean(means)), "tau": float(np.mean(taus))} if means else {}
