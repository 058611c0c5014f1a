"""The objective "sequence": frames of two views of a video are alike as far as they are of one moment."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...similarity.embedding import sequence_net
from ...similarity.embedding.frame_norm import FrameNorm
from ...similarity.embedding.sequence_net import SequenceNet
from ..command import Order
from ..configs import ConfigError
from ..evaluation.between_views import made_views, view_figures
from ..ranks import Ranks
from ..run import Objective
from ..run import train as trained
from .clips import Footage
from .footage import footage_of
from .sampling import Sampler
from .sequence_config import SequenceConfig
from .sequence_loss import sequence_loss
from .views import Batch, Views, batched

__all__ = ["CONFIG", "Headed", "SequenceObjective", "train"]

CONFIG = SequenceConfig


def train(config: SequenceConfig, order: Order, ranks: Ranks) -> Path:
    """Train the sequence network as ordered; return the weights' path.

    Raises:
        ModelError: weights cannot be read.
        TrainFault: there is nothing to train on, or the run cannot go on.
    """
    with ExitStack() as held:
        known: list[Footage] = []

        def footage() -> Footage:
            if not known:
                known.append(held.enter_context(footage_of(config, order.footage)))
            return known[0]

        return trained(SequenceObjective(config, footage, order.begin), config, order.out, ranks)


class Headed(nn.Module):
    """The network with the head that it is trained with: linear, norm, ReLU, linear.

    Args:
        net: the network.
        width: of the head.
    """

    def __init__(self, net: SequenceNet, width: int) -> None:
        super().__init__()
        self.net = net
        given = net.sizes.embedding
        self.head = nn.Sequential(nn.Linear(given, width), FrameNorm(width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Return what is contrasted, (B, T, width), of unit length; arguments as of the network."""
        kept = self.head(self.net(frames, valid)[valid])
        made = kept.new_zeros(*valid.shape, kept.shape[-1])
        made[valid] = nn.functional.normalize(kept, dim=-1)
        return made.float()


class SequenceObjective(Objective):
    """The sequence network in training.

    Args:
        config: the run.
        footage: gives what is trained on and validated with, when that is first needed.
        begin: a file of weights to begin with; None: random ones.
    """

    name = "embedding"
    collate = staticmethod(batched)
    validates_untrained = True
    log_every = 10

    def __init__(self, config: SequenceConfig, footage: Callable[[], Footage], begin: Path | None = None) -> None:
        self.config: SequenceConfig = config
        self.gradient_clip = config.gradient_clip
        self._footage, self._begin = footage, begin
        self._validation: list[Batch] = []

    def network(self) -> Headed:
        """Return the network with its head."""
        config = self.config
        net = SequenceNet(config.sizes, config.backbone_weights or None, config.train_backbone)
        if self._begin is not None:
            given = sequence_net.load(self._begin)
            if given.sizes != net.sizes:
                raise ConfigError(
                    f"{self._begin} holds a network of other sizes than the configuration's: make them the same"
                )
            net.load_state_dict(given.state_dict())
        return Headed(net, config.projection)

    def data(self, workers: int) -> AbstractContextManager[Views]:
        """Lend the views."""
        return self._lent()

    @contextmanager
    def _lent(self) -> Iterator[Views]:
        config = self.config
        clips = self._footage().training
        yield Views(clips, self._sampler(), config.augmentation, config.size, config.seed)

    def _sampler(self) -> Sampler:
        return Sampler(self.config.length, self.config.stretch, self.config.overlap)

    def fingerprint(self) -> str:
        """Return what identifies the videos."""
        return self._footage().training.fingerprint()

    def loss(self, network: Any, batch: Batch, ranks: Ranks) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of pairs of views."""
        made = network(batch.frames, batch.valid)
        views, numbers, lengths, valid = (
            tuple(part.chunk(2)) for part in (made, batch.numbers, batch.lengths, batch.valid)
        )
        config = self.config
        value = sequence_loss(
            views,
            numbers,
            lengths,
            valid,
            variance=config.variance,
            temperature=config.temperature,
            averaged=ranks.averaged,
        )
        return value, {}

    def validate(self, network: Headed, device: torch.device) -> Mapping[str, float]:
        """Return the frame error of nearest neighbours, and Kendall's tau, between views of videos held out."""
        clips, config = self._footage().validation, self.config
        if not len(clips):
            return {}
        if not self._validation:
            each = config.validation_views
            self._validation = made_views(clips, self._sampler(), config.augmentation, config.size, each)
        return view_figures(network.net, self._validation, device)

    def save(self, network: Headed, path: Path) -> None:
        """Write the network without its head, with how it was trained."""
        # Where files lie on this machine is nobody's business.
        told = {**self.config.as_dict(), "backbone_weights": Path(self.config.backbone_weights).name}
        sequence_net.save(path, network.net, training=json.dumps(told))

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> tuple[Any, Any]:
        """Return Adam, and a learning rate that rises in a line and falls along a cosine to nothing."""
        config = self.config
        optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, _Rate(config.warm_up, max(config.steps, 1)))


class _Rate:
    """The share of the learning rate at a step."""

    def __init__(self, rising: int, steps: int) -> None:
        self._rising, self._steps = rising, steps

    def __call__(self, step: int) -> float:
        if step < self._rising:
            return (step + 1) / self._rising
        done = (step - self._rising) / max(1, self._steps - self._rising)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
