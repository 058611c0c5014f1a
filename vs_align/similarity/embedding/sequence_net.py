"""The sequence network: vectors of frames that know the frames around them.

After "Frame-wise Action Representations for Long Videos via Sequence Contrastive Learning" (Chen et al., CVPR 2022): a
backbone makes a vector of each frame, two blocks and a linear layer bring it to the width of a transformer, which sees
the frames of a sequence with their places in it, and a last layer makes the embedding, of unit length.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...models import ModelError
from .backbones import TRAINED, Backbone, make_backbone
from .files import FILES, SEQUENCE
from .frame_norm import FrameNorm

__all__ = ["SequenceNet", "SequenceSizes", "load", "save"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceSizes:
    """Sizes of the network.

    Attributes:
        backbone: "small", or timm's name of a network.
        size: side of the square frames in pixels.
        cells: a map of the backbone becomes so many by so many largest values; 1: one.
        centred: the mean of a sequence's vectors is taken off: what does not change in it says nothing of the moment.
        hidden: width of the two blocks.
        width: of the transformer.
        layers, heads, feedforward: of the transformer; no layers: each frame is seen alone.
        dropout: share of values that are left out in training.
        embedding: length of the embeddings.
        length: frames of the sequences that it is trained on, T.
    """

    backbone: str = "resnet50"
    size: int = 224
    cells: int = 1
    centred: bool = False
    hidden: int = 512
    width: int = 256
    layers: int = 3
    heads: int = 8
    feedforward: int = 1024
    dropout: float = 0.1
    embedding: int = 128
    length: int = 80


class SequenceNet(nn.Module):
    """The network.

    Args:
        sizes: of its parts.
        weights: of the backbone; None: random ones.
        trained: which of the backbone's stages learn, out of `backbones.TRAINED`.

    Attributes:
        sizes: of its parts.
    """

    def __init__(
        self,
        sizes: SequenceSizes | None = None,
        weights: str | os.PathLike[str] | None = None,
        trained: str = TRAINED[0],
    ) -> None:
        super().__init__()
        self.sizes = sizes = sizes or SequenceSizes()
        self.backbone: Backbone = make_backbone(
            sizes.backbone, weights, size=sizes.size, trained=trained, cells=sizes.cells
        )
        drop, hidden = sizes.dropout, sizes.hidden
        self.blocks = nn.ModuleList([_Block(self.backbone.width, hidden, drop), _Block(hidden, hidden, drop)])
        self.enter = nn.Linear(hidden, sizes.width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                sizes.width, sizes.heads, sizes.feedforward, drop, batch_first=True, norm_first=True
            )
            for _ in range(sizes.layers)
        )
        self.norm = nn.LayerNorm(sizes.width) if sizes.layers else nn.Identity()
        self.leave = nn.Linear(sizes.width, sizes.embedding)

    @property
    def context(self) -> int:
        """Frames on each side that an embedding should know; 0: it is of its frame alone."""
        return self.sizes.length // 2 if self.sizes.layers or self.sizes.centred else 0

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Return the embeddings of sequences.

        Args:
            frames: (B, T, 3, S, S), RGB, 0 to 255, of any type.
            valid: (B, T), false for padding, which comes after the frames of a sequence and changes nothing.

        Returns:
            (B, T, embedding), of unit length; zeros for padding.
        """
        seen = self.backbone(frames[valid])
        features = seen.new_zeros(*valid.shape, seen.shape[-1])
        features[valid] = seen
        return self.sequence(features, valid)

    def sequence(self, features: Tensor, valid: Tensor) -> Tensor:
        """Return the embeddings of sequences of which the backbone has seen the frames.

        Args:
            features: (B, T, backbone.width); `backbone` makes them of single frames.
            valid: as for `forward`.

        Returns:
            As `forward`.
        """
        if self.sizes.centred:
            count = valid.sum(1).clamp(min=1)[:, None, None]
            features = features - features.sum(1, keepdim=True) / count
        inner = features[valid]
        for block in self.blocks:
            inner = block(inner)
        inner = self.enter(inner)
        tokens = inner.new_zeros(*valid.shape, inner.shape[-1])
        tokens[valid] = inner
        if self.layers:
            tokens = self._in_sequence(tokens, valid)
        made = nn.functional.normalize(self.leave(tokens), dim=-1)
        return made * valid[..., None]

    def _in_sequence(self, tokens: Tensor, valid: Tensor) -> Tensor:
        # Enlarged (Vaswani et al., "Attention Is All You Need", 2017): places would say more than what is seen there.
        tokens = (tokens * math.sqrt(self.sizes.width) + self._places(valid)) * valid[..., None]
        # A sequence of padding alone would have nothing to look at.
        hidden = ~valid & valid.any(1, keepdim=True)
        for layer in self.layers:
            tokens = layer(tokens, src_key_padding_mask=hidden) * valid[..., None]
        tokens = self.norm(tokens)
        return tokens

    def _places(self, valid: Tensor) -> Tensor:
        """Return sines and cosines of the frames' places, which fill the training's length however many there are."""
        count = valid.sum(1, keepdim=True).clamp(min=1)
        place = torch.arange(valid.shape[1], device=valid.device) * (self.sizes.length / count)
        half = self.sizes.width // 2
        rates = torch.exp(torch.arange(half, device=valid.device) * (-math.log(10000.0) / half))
        angles = place[..., None] * rates
        return torch.cat([angles.sin(), angles.cos()], -1)


class _Block(nn.Module):
    """Dropout, linear, batch norm, ReLU."""

    def __init__(self, given: int, made: int, dropout: float) -> None:
        super().__init__()
        self.drop, self.linear, self.norm = nn.Dropout(dropout), nn.Linear(given, made), FrameNorm(made)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (N, made) of (N, given)."""
        return torch.relu(self.norm(self.linear(self.drop(frames))))


def save(path: str | os.PathLike[str], net: SequenceNet, **said: str) -> None:
    """Write a network's weights and sizes; a file that is there is replaced at once or not at all.

    Args:
        path: a name that ends in .safetensors.
        net: on any device.
        said: what the file says of itself besides.
    """
    FILES.save(path, net.state_dict(), asdict(net.sizes), kind=SEQUENCE, **said)


def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> SequenceNet:
    """Return the network that a file describes, ready to embed, on a device.

    Args:
        path: a file that `save` wrote.
        device: where the network is put.

    Raises:
        ModelError: the file cannot be read, is of something else, or of another version.
    """
    path = FILES.located(path)
    return FILES.fill(_described(path), path, device)


def _described(path: Path) -> SequenceNet:
    """Return a network as a file describes it."""
    said = FILES.header(path)
    if said.kind != SEQUENCE:
        raise ModelError(
            f"{path} holds other weights than a sequence network's: give a file of vs-align train embedding"
        )
    try:
        # First weights must not move the script's own random numbers.
        with torch.random.fork_rng(devices=[]):
            return SequenceNet(SequenceSizes(**said.config), trained="none")
    except (TypeError, ValueError, RuntimeError) as fault:
        if isinstance(fault, ModelError):
            raise
        raise FILES.undescribed(path) from fault
