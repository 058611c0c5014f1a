"""What turns single frames into vectors: a backbone of timm's, or a small one of our own."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from vs_align import models

__all__ = ["SMALL", "TRAINED", "Backbone", "SmallConv", "make_backbone"]

SMALL = "small"
"""The name of our own."""
TRAINED = ("last", "all", "none")
"""Which of a backbone's stages learn."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class SmallConv(nn.Module):
    """Four convolutions, for two CPU cores. (N, 3, H, W) -> (N, 128, H / 8, W / 8)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((3, 16, 2), (16, 32, 2), (32, 64, 2), (64, 128, 1))
        self.blocks = nn.Sequential(*(self._block(*size) for size in sizes))

    @staticmethod
    def _block(given: int, made: int, stride: int) -> nn.Module:
        # Of each frame alone: in a batch norm what a frame becomes would hang on the others.
        return nn.Sequential(
            nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.GroupNorm(8, made), nn.ReLU(inplace=True)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return the maps of a batch of frames."""
        maps: Tensor = self.blocks(frames)
        return maps


class Backbone(nn.Module):
    """Vectors of frames: the maps of a network's last stage, each reduced to its largest values.

    Args:
        name: "small", or timm's name of a network.
        size: side of the square frames in pixels.
        trained: "last": all stages but the last are frozen, and so are their batch norms; "all"; "none".
        cells: the maps are reduced to so many by so many cells; 1: to one value each (global max pooling).
        chunk: so many frames go through at once, which bounds the memory.

    Attributes:
        width: length of the vectors.

    Raises:
        ModelError: timm has no such network, or it gives no maps of features.
    """

    def __init__(self, name: str, *, size: int = 224, trained: str = "last", cells: int = 1, chunk: int = 40) -> None:
        super().__init__()
        self._cells, self._chunk = cells, chunk
        self._small = name == SMALL
        self.net: Any = SmallConv() if self._small else _from_timm(name)
        self._frozen = list(self._stages(name, trained))
        for part in self._frozen:
            part.requires_grad_(False)
        mean, deviation = _IMAGENET
        if not self._small:
            mean, deviation = self.net.pretrained_cfg["mean"], self.net.pretrained_cfg["std"]
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1) * 255, persistent=False)
        self.width = self._measured(name, size)

    def _stages(self, name: str, trained: str) -> Iterator[nn.Module]:
        """Yield what is frozen."""
        if trained == "all":
            return
        if trained == "none":
            yield self.net
            return
        last = "blocks.3" if self._small else _last_stage(self.net, name)
        for path, part in self.net.named_modules():
            # Leaves alone: a part that holds the last stage is not frozen as a whole.
            inside = path == last or path.startswith(f"{last}.")
            if not inside and not any(True for _ in part.children()):
                yield part

    def _measured(self, name: str, size: int) -> int:
        before = self.net.training
        self.net.eval()
        try:
            with torch.no_grad():
                width = self._vectors(torch.zeros(1, 3, size, size)).shape[1]
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as fault:
            detail = textwrap.shorten(str(fault) or type(fault).__name__, 150)
            raise models.ModelError(
                f"backbone {name!r} gives no maps of features for frames of {size} px ({detail}): choose another"
            ) from fault
        self.net.train(before)
        return int(width)

    def train(self, mode: bool = True) -> Backbone:
        """Set the mode; what is frozen stays as it is, its batch norms too."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, frames: Tensor) -> Tensor:
        """Return the vectors of frames.

        Args:
            frames: (N, 3, S, S), RGB, 0 to 255, of any type; N may be 0.

        Returns:
            (N, width).
        """
        if not len(frames):
            return torch.zeros(0, self.width, device=frames.device)
        parts = [self._vectors((part.float() - self.mean) / self.deviation) for part in frames.split(self._chunk)]
        return torch.cat(parts)

    def _vectors(self, frames: Tensor) -> Tensor:
        if self._small:
            maps = self.net(frames)
        else:
            maps = self.net.forward_intermediates(frames, indices=1, output_fmt="NCHW", intermediates_only=True)[-1]
        # In two steps of plain maxima, since adaptive pooling has no gradient that repeats itself on CUDA.
        return _largest(maps, self._cells).flatten(1)


def _largest(maps: Tensor, cells: int) -> Tensor:
    """Return the largest value of each cell, (N, C, cells, cells)."""
    if cells == 1:
        return maps.amax((2, 3), keepdim=True)
    height, width = maps.shape[2:]
    if height % cells or width % cells:
        maps = F.interpolate(maps, (-(-height // cells) * cells, -(-width // cells) * cells), mode="nearest-exact")
        height, width = maps.shape[2:]
    return maps.view(*maps.shape[:2], cells, height // cells, cells, width // cells).amax((3, 5))


def make_backbone(
    name: str, weights: str | os.PathLike[str] | None = None, *, size: int = 224, trained: str = "last", cells: int = 1
) -> Backbone:
    """Return a backbone, with weights of a file where one is named.

    Args:
        name, size, trained, cells: as for `Backbone`.
        weights: a .safetensors or PyTorch file; the classifier of an ImageNet network and the heads of BYOL are left
            out. None: random weights.

    Raises:
        ModelError: there is no such network or file, or the file is of another network.
    """
    backbone = Backbone(name, size=size, trained=trained, cells=cells)
    if weights is not None:
        _load(backbone.net, Path(weights).expanduser(), name)
    return backbone


def _from_timm(name: str) -> Any:
    try:
        import timm
    except ImportError as fault:
        raise models.ModelError(
            f'backbone {name!r} needs timm: pip install "vs_align[resnet]", or take backbone "{SMALL}"'
        ) from fault
    if not timm.is_model(name):
        raise models.ModelError(f'timm has no backbone {name!r}: give a name that timm.list_models() has, or "{SMALL}"')
    return timm.create_model(name, pretrained=False, num_classes=0)


def _last_stage(net: Any, name: str) -> str:
    stages = getattr(net, "feature_info", None)
    if not stages:
        raise models.ModelError(
            f"backbone {name!r} does not say what its last stage is: set train_backbone to all or none"
        )
    last = stages[-1] if isinstance(stages, list) else stages.info[-1]
    return str(last["module"])


def _load(net: Any, path: Path, name: str) -> None:
    if not path.is_file():
        raise models.ModelError(f"there is no weights file at {path}: give the path of weights of {name}")
    state = models.load_state_dict(path)
    # BYOL and MoCo keep the network beside its heads.
    for prefix in ("backbone.", "encoder.", "online_network.", "net."):
        if any(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): part for key, part in state.items() if key.startswith(prefix)}
            break
    own = net.state_dict()
    try:
        net.load_state_dict(
            {key: part for key, part in state.items() if key in own or not key.startswith(("fc.", "head."))}
        )
    except RuntimeError as fault:
        detail = textwrap.shorten(str(fault), 200)
        raise models.ModelError(f"{path} holds weights of another network than {name!r}: {detail}") from fault
