"""What `vs-align evaluate` does once its arguments are read."""

import importlib.util
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from ..faults import TrainFault

if TYPE_CHECKING:
    import torch

    from ...similarity.embedding.sequence_net import SequenceNet
    from ..datasets import Table

__all__ = ["Question", "answer"]

_PAIRS_EACH = 4
_MOST_FRAMES = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be measured.

    Attributes:
        model: weights of a sequence network.
        dataset: a name of `vs_align.train.datasets`.
        footage: the data set's folder.
        split: that is measured on; phases are learned from "train". A plain folder has none.
        device: "cpu", "cuda", "cuda:1"; None: CUDA where it works.
    """

    model: Path
    dataset: str
    footage: Path
    split: str = "val"
    device: str | None = None


def answer(question: Question) -> dict[str, float]:
    """Return figures by name.

    Raises:
        TrainFault: it cannot be measured; one line says why.
    """
    for package in ("torch", "safetensors", "av", "sklearn"):
        if importlib.util.find_spec(package) is None:
            raise TrainFault(f'evaluation needs {package}: install it with pip install "vs_align[train]"')
    import torch

    from ...models import ModelError
    from ...similarity.embedding.sequence_net import load
    from ..ranks import ranks
    from .suite import evaluate

    try:
        with ranks(question.device) as own, torch.inference_mode():
            net = load(question.model, own.device)
            table = datasets.load(question.dataset, question.footage, question.split)
            if question.dataset == "folder":
                return _between_views(net, table, own.device)
            paired = all(row.paired for row in table.rows)
            training = None if paired else datasets.load(question.dataset, question.footage, "train")
            embed = Embedded(net, own.device)
            return evaluate(embed, net.sizes.size, training, table)
    except (ModelError, OSError) as fault:
        raise TrainFault(str(fault)) from fault


class Embedded:
    """Embeds a video as one sequence.

    Args:
        net: the network, in eval mode.
        device: the network's.
    """

    def __init__(self, net: "SequenceNet", device: "torch.device") -> None:
        self._net, self._device = net, device

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings, (T, D), of frames, (T, H, W, 3)."""
        import torch

        from ..embedding.augment import plain

        seen = np.ascontiguousarray(plain(frames, self._net.sizes.size).transpose(0, 3, 1, 2))
        given = torch.from_numpy(seen)[None].to(self._device)
        valid = torch.ones(1, len(frames), dtype=torch.bool, device=self._device)
        return np.asarray(self._net(given, valid)[0].float().cpu().numpy(), np.float32)


def _between_views(net: "SequenceNet", table: "Table", device: "torch.device") -> dict[str, float]:
    from ..embedding.augment import Augmentation
    from ..embedding.clips import stored
    from ..embedding.sampling import Sampler
    from .between_views import made_views, view_figures

    with ExitStack() as held:
        clips = held.enter_context(stored(table.videos, net.sizes.size, _MOST_FRAMES))
        if not len(clips):
            raise TrainFault("none of the videos can be read: give others")
        sampler = Sampler(net.sizes.length)
        pairs = made_views(clips, sampler, Augmentation(), net.sizes.size, _PAIRS_EACH)
        found = view_figures(net, pairs, device)
    if not found:
        raise TrainFault("none of the videos has two frames: give longer ones")
    return {"frame error between made views, mean": found["frame_error"], "Kendall's tau": found["tau"]}
