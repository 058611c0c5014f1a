"""Deep features: where in the picture each channel of an image network finds what it looks for.

The network is a backbone of timm's through its last stage, ResNet-50 unless another is named (He, Zhang, Ren, Sun:
Deep Residual Learning for Image Recognition, CVPR 2016; package timm, Wightman). Each channel of its output is a small
map. The softmax of the map over all cells is a distribution, and its mean, a soft-argmax, is where the channel's
feature is (the "spatial softmax" of Levine, Finn, Darrell, Abbeel: End-to-End Training of Deep Visuomotor Policies,
JMLR 2016). Two frames are as far apart as their features have moved.

The network sees one frame at a time: in a batch, results on a GPU depend in their last digits on how many frames there
are, and on the CPU a batch is slower. What is batched is the comparison of a window.
"""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from vs_align import models

from .topiq import gains_by_half

__all__ = ["DEFAULT_MODEL", "WEIGHTS_ENV", "ResNet", "is_backbone", "soft_argmax"]

DEFAULT_MODEL = "resnet50"

WEIGHTS_ENV = "VS_ALIGN_RESNET"
"""Environment variable that names a file of weights to use instead of timm's."""

_SHORT_SIDE, _SHORTEST, _LONGEST = 256, 128, 4096
_STRIDE = 32
_CANDIDATES = 256


class ResNet:
    """A backbone on one device. Calls from several threads at once are right.

    Args:
        device: A torch device.
        model: timm's name of the backbone, with or without the tag of its weights.
        weights: A local file, a state dict, or None: timm's weights, downloaded on first use.
        half: Run the network in half precision; ignored on the CPU and on GPUs that gain nothing by it.

    Raises:
        vs_align.models.ModelError: The weights cannot be had or are another network's; the network gives no maps of
            features.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        model: str = DEFAULT_MODEL,
        weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        half: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.dtype = torch.float16 if half and gains_by_half(self.device) else torch.float32
        self._net = _build(model, weights).eval().requires_grad_(False)
        self._multiple, self._only = _sizes_taken(self._net, model)
        self._net.to(self.device, self.dtype)
        trained_on = self._net.pretrained_cfg
        self._mean, self._deviation = (
            torch.tensor(trained_on[name], device=self.device)[:, None, None] for name in ("mean", "std")
        )

    def features(self, rgb: torch.Tensor) -> torch.Tensor:
        """Run the network on one frame.

        Args:
            rgb: Float32 (3, H, W), RGB, 0..1; values outside are clamped. With a pixel that is not finite, every
                distance of the frame is inf.

        Returns:
            Float32 (C, 2), where each channel's feature is, as `soft_argmax` has it.
        """
        with torch.inference_mode():
            rgb = rgb.to(self.device, torch.float32)
            picture = F.interpolate(
                rgb.clamp(0, 1)[None], self._size(*rgb.shape[1:]), mode="bilinear", antialias=True, align_corners=False
            )
            normal = (picture - self._mean) / self._deviation
            # NaN if any pixel is not finite, else 0.
            return soft_argmax(_last_stage(self._net, normal.to(self.dtype))[0]) + (rgb - rgb).sum()

    def distances(
        self, ref: torch.Tensor, candidates: Sequence[torch.Tensor], batch_size: int | None = None
    ) -> NDArray[np.float64]:
        """Return the Euclidean distance of ref's coordinates to each candidate's.

        Args:
            ref: A frame's features, (C, 2).
            candidates: Features of frames of the same size.
            batch_size: Candidates at once, which bounds the memory. None: 256.

        Returns:
            Shape (len(candidates),); 0 for an identical frame; inf where a pixel of either frame is not finite.
        """
        size = batch_size or _CANDIDATES
        distances = np.empty(len(candidates))
        with torch.inference_mode():
            for start in range(0, len(candidates), size):
                moved = torch.stack(tuple(candidates[start : start + size])) - ref
                distances[start : start + size] = torch.linalg.vector_norm(moved, dim=(1, 2)).double().cpu().numpy()
        distances[np.isnan(distances)] = np.inf
        return distances

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size at which the network sees a picture: short side 256; 128 to 255 beyond a shape of 16:1."""
        if self._only is not None:
            return self._only
        scale = min(_SHORT_SIDE / min(height, width), _LONGEST / max(height, width))
        wanted = (height * scale, width * scale)
        high, wide = (max(_SHORTEST, round(side / self._multiple) * self._multiple) for side in wanted)
        return high, wide


def is_backbone(name: str) -> bool:
    """Tell whether timm has a network of this name and, where the name says which, weights of this tag."""
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        return False
    return bool(timm.is_model(name))


def soft_argmax(maps: torch.Tensor) -> torch.Tensor:
    """Return where the mean of each map's softmax over all cells is.

    Args:
        maps: (C, h, w).

    Returns:
        Float32 (C, 2): y and x, -1 at the centre of the first row or column, 1 at that of the last; 0 where there is
        only one.
    """
    height, width = maps.shape[1:]
    share = maps.float().flatten(1).softmax(1).view(-1, height, width)
    return torch.stack((share.sum(2) @ _axis(height, share), share.sum(1) @ _axis(width, share)), dim=1)


def _axis(cells: int, like: torch.Tensor) -> torch.Tensor:
    end = 1.0 if cells > 1 else 0.0
    return torch.linspace(-end, end, cells, device=like.device)


def _last_stage(net: Any, batch: torch.Tensor) -> torch.Tensor:
    maps: torch.Tensor = net.forward_intermediates(batch, indices=1, output_fmt="NCHW", intermediates_only=True)[-1]
    return maps


def _sizes_taken(net: Any, model: str) -> tuple[int, tuple[int, int] | None]:
    """Return what the sides of pictures have to be multiples of, 1 or 32, and their size where only one will do."""
    size: tuple[int, int] = tuple(net.pretrained_cfg["input_size"][1:])
    fault: Exception | None = None
    for multiple, only, tried in ((1, None, (128, 171)), (_STRIDE, None, (128, 192)), (1, size, size)):
        try:
            with torch.inference_mode():
                if _last_stage(net, torch.zeros(1, 3, *tried)).ndim == 4:
                    return multiple, only
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as refused:
            fault = refused
    raise models.ModelError(
        f"model={model!r} gives no maps of features: choose another timm backbone, such as {DEFAULT_MODEL!r}"
    ) from fault


def _build(model: str, weights: str | os.PathLike[str] | Mapping[str, Any] | None) -> Any:
    """Return the network with its weights, without its classifier."""
    if weights is None:
        weights = os.environ.get(WEIGHTS_ENV) or None
    with _aside():
        if weights is None:
            return _downloaded(model)
        net = _created(model, pretrained=False)
    if isinstance(weights, Mapping):
        source, state = "the mapping given", models.state_dict_of(weights)
    else:
        source = str(_existing(weights))
        state = models.load_state_dict(source)
    _load(net, state, source, model)
    return net


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Keep what timm says off stdout, and the random weights from moving the script's own random numbers."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield


def _created(model: str, pretrained: bool) -> Any:
    config = timm.get_pretrained_cfg(model)
    if config is not None and config.fixed_input_size:
        # Most transformers are made for one size of picture unless told otherwise.
        with contextlib.suppress(TypeError):
            return timm.create_model(model, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
    return timm.create_model(model, pretrained=pretrained, num_classes=0)


def _downloaded(model: str) -> Any:
    """Return the network with timm's weights, which timm keeps in its own cache."""
    advice = f"give a file with weights= or the environment variable {WEIGHTS_ENV}"
    try:
        config = timm.get_pretrained_cfg(model)
        if config is None or not config.has_weights:
            raise models.ModelError(f"timm has no weights for model={model!r}: {advice}, or choose another model")
        return _created(model, pretrained=True)
    except models.ModelError:
        raise
    except Exception as fault:  # the network, the hub, the cache and the file fail in a dozen ways
        reason = textwrap.shorten(str(fault) or type(fault).__name__, 150)
        raise models.ModelError(
            f"the weights of {model!r} cannot be had from timm ({reason}): check the network and try again, or {advice}"
        ) from fault


def _existing(weights: str | os.PathLike[str]) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise models.ModelError(
            f"there is no weights file at {path}: give the path of an existing file with weights= or {WEIGHTS_ENV}, or "
            "none to have it downloaded"
        )
    return path


def _load(net: Any, state: dict[str, Any], source: str, model: str) -> None:
    """Give the network its weights; those of its classifier are left out."""
    heads = net.pretrained_cfg.get("classifier") or ()
    roots = {head.partition(".")[0] for head in ((heads,) if isinstance(heads, str) else heads)}
    own = net.state_dict()
    state = {name: value for name, value in state.items() if name in own or name.partition(".")[0] not in roots}
    try:
        net.load_state_dict(state)
    except RuntimeError as fault:
        detail = textwrap.shorten(str(fault), 200)
        raise models.ModelError(f"{source} holds weights of another network than {model!r}: {detail}") from fault
