"""What a training run of the sequence network is told."""

from dataclasses import dataclass, field

from ...similarity.embedding.backbones import SMALL, TRAINED
from ...similarity.embedding.sequence_net import SequenceSizes
from ..configs import ConfigError, RunConfig, number, word
from ..datasets import NAMES
from .augment import Augmentation

__all__ = ["SequenceConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceConfig(RunConfig):
    """A training run of the sequence network; what every run is told is in `RunConfig`.

    Attributes:
        objective: "sequence".
        dataset: how the footage is laid out, a name of `vs_align.train.datasets`.
        held_out: of a plain folder: words; videos with one of them in their path are for validation alone.
        unused: of a plain folder: words; videos with one of them in their path are not used at all.
        cache: keep all frames, made small, in a temporary file; else videos are read anew for each sample.
        most_frames: of a video that is kept.
        backbone: "small", or timm's name of a network.
        backbone_weights: path of a file of its weights; "": random ones.
        train_backbone: which of its stages learn: "last", "all", "none".
        size: side of the frames in pixels.
        cells: a map of the backbone becomes so many by so many largest values; 1: one.
        centred: take the mean of a view's vectors off.
        hidden, width, layers, heads, feedforward, dropout, embedding: as in `SequenceSizes`.
        projection: width of the training's head.
        length: frames of a view, T.
        stretch: a view's frames are drawn from up to so many times as many.
        overlap: share of the shorter stretch that both views have.
        variance: how far around the same moment frames should be alike, frames squared.
        temperature: what products are divided by.
        warm_up: steps in which the learning rate rises; then it falls along a cosine.
        gradient_clip: longer gradients are shortened.
        validation_views: how many pairs of views of each video a validation uses.
        augmentation: how far views differ in look.
    """

    objective: str = word("sequence", ("sequence",))
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    dataset: str = word("folder", NAMES)
    held_out: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    cache: bool = True
    most_frames: int = number(600, least=2)
    backbone: str = "resnet50"
    backbone_weights: str = ""
    train_backbone: str = word("last", TRAINED)
    size: int = number(224, least=16, most=1024)
    cells: int = number(1, least=1, most=16)
    centred: bool = False
    hidden: int = number(512, least=1)
    width: int = number(256, least=2)
    layers: int = number(3, least=0)
    heads: int = number(8, least=1)
    feedforward: int = number(1024, least=1)
    dropout: float = number(0.1, least=0, most=0.9)
    embedding: int = number(128, least=2)
    projection: int = number(128, least=2)
    length: int = number(80, least=2)
    stretch: float = number(1.5, least=1, most=100)
    overlap: float = number(0.2, least=0, most=1)
    variance: float = number(10.0, least=1e-3)
    temperature: float = number(0.1, least=1e-4)
    warm_up: int = number(0, least=0)
    gradient_clip: float = number(10.0, least=1e-6)
    validation_views: int = number(4, least=1)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def check(self, where: str) -> None:
        """Refuse keys that contradict each other."""
        RunConfig.check(self, where)
        if self.width % 2 or self.width % self.heads:
            raise ConfigError(f"{where}: width must be even and a multiple of heads ({self.heads}), not {self.width}")
        if self.backbone == SMALL and self.backbone_weights:
            raise ConfigError(f"{where}: backbone_weights are for timm's networks, not for {SMALL!r}: leave them out")
        if self.train_backbone != "all" and not self.backbone_weights:
            raise ConfigError(
                f"{where}: train_backbone {self.train_backbone!r} would freeze random weights: "
                "name a file in backbone_weights, or set train_backbone to all"
            )
        if self.dataset != "folder" and (self.held_out or self.unused):
            raise ConfigError(f"{where}: held_out and unused are for a plain folder; {self.dataset} has its own splits")
        if "" in (*self.held_out, *self.unused):
            raise ConfigError(f"{where}: a word in held_out and unused must not be empty, since every path has it")
        if self.steps and self.warm_up >= self.steps:
            raise ConfigError(f"{where}: warm_up must be below steps ({self.steps}), not {self.warm_up}")

    @property
    def sizes(self) -> SequenceSizes:
        """The network's."""
        names = ("backbone", "size", "cells", "centred", "hidden", "width", "layers", "heads", "feedforward", "dropout")
        return SequenceSizes(
            **{name: getattr(self, name) for name in names}, embedding=self.embedding, length=self.length
        )
