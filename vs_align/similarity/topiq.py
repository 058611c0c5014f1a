"""TOPIQ, full reference: 1 - score of CFANet (ResNet-50 features, attention from coarse to fine).

Chen, Mo, Hou, Wu, Liao, Sun, Yan, Lin: TOPIQ: A Top-down Approach from Semantics to Distortions for Image Quality
Assessment. IEEE Transactions on Image Processing, 2024. The network is IQA-PyTorch's (package pyiqa).

The backbone sees one frame alone and runs once per frame. Everything after it starts from the difference of two
frames' features and runs once per pair: this file follows CFANet.forward_cross_attention from there on, without its
concatenations at full size and without the attention maps that its layers keep.
"""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from vs_align import models

__all__ = ["MINIMUM_SIZE", "Topiq", "TopiqFeatures", "gains_by_half"]

MINIMUM_SIZE = 1
"""Smallest width and height: the backbone pads, so every frame has features."""

_HALF_CAPABILITY = 7
"""CUDA compute capability (major) from which half precision is the faster one."""


@dataclass(frozen=True, slots=True)
class TopiqFeatures:
    """What the backbone says about one frame.

    Args:
        levels: Five tensors (C, h, w), from fine (64 channels, half the frame's size) to coarse (2048, 1/32).
    """

    levels: tuple[torch.Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Memory of the features in bytes."""
        return sum(int(level.nbytes) for level in self.levels)


class Topiq:
    """TOPIQ's network on one device. Calls from several threads at once are right.

    Args:
        device: A torch device.
        weights: A local file, a state dict, or None: KADID weights, downloaded on first use.
        half: Run the convolutions in half precision; ignored on the CPU and on GPUs that gain nothing by it.

    Raises:
        ImportError: timm or pyiqa is missing.
        vs_align.models.ModelError: The weights cannot be had or are another network's.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        half: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.dtype = torch.float16 if half and gains_by_half(self.device) else torch.float32
        self._net = _build()
        _load(self._net, weights)
        self._net.eval().requires_grad_(False).to(self.device)
        # The attention stays in float32: half precision has too few digits near 1 to rank good candidates.
        for convolutions in (self._net.semantic_model, self._net.weight_pool, self._net.dim_reduce):
            convolutions.to(self.dtype)

    def features(self, rgb: torch.Tensor) -> TopiqFeatures:
        """Run the backbone on one frame.

        Args:
            rgb: Float32 (3, H, W), RGB, 0..1; values outside are clamped. With a pixel that is not finite, every
                distance of the frame is inf.

        Raises:
            ValueError: The frame is smaller than MINIMUM_SIZE.
        """
        height, width = rgb.shape[-2:]
        if min(height, width) < MINIMUM_SIZE:
            raise ValueError(
                f"TOPIQ needs frames of at least {MINIMUM_SIZE}x{MINIMUM_SIZE} pixels, not {width}x{height}."
            )
        with torch.inference_mode():
            rgb = rgb.to(self.device, torch.float32)
            # Infinity times 0 is NaN: no pixel that is not finite is clamped to a colour.
            frame = self._net.preprocess((rgb.clamp(0, 1) + rgb * 0)[None])
            return TopiqFeatures(tuple(level[0] for level in self._net.semantic_model(frame.to(self.dtype))))

    def distances(
        self, ref: TopiqFeatures, candidates: Sequence[TopiqFeatures], batch_size: int | None = None
    ) -> NDArray[np.float64]:
        """Return 1 - score of each candidate, as the distorted frame, against ref.

        Args:
            ref: The reference frame's features.
            candidates: Features of frames of the same size.
            batch_size: Candidates at once, which bounds the memory. None: all of them on a GPU; on the CPU one after
                the other, which is the fastest there.

        Returns:
            Shape (len(candidates),); inf where the score is not a number.
        """
        if batch_size is None:
            batch_size = 1 if self.device.type == "cpu" else max(len(candidates), 1)
        distances = np.empty(len(candidates))
        with torch.inference_mode():
            for start in range(0, len(candidates), batch_size):
                batch = candidates[start : start + batch_size]
                distances[start : start + batch_size] = 1 - self._scores(ref, batch).double().cpu().numpy()
        distances[np.isnan(distances)] = np.inf
        return distances

    def _scores(self, ref: TopiqFeatures, batch: Sequence[TopiqFeatures]) -> torch.Tensor:
        """Return the scores (B,) of the batch: attention from the coarsest level to the finest."""
        net = self._net
        coarse_to_fine = reversed(range(len(ref.levels)))
        query, *finer = (self._tokens(level, ref, batch) for level in coarse_to_fine)
        for block, tokens in zip(net.attn_blks, finer, strict=True):
            for layer in block.layers:
                query = _attend_across(layer, query, tokens)
        pooled = _attend_within(net.attn_pool, query).mean(dim=0)
        return net.score_linear(pooled)[:, 0]

    def _tokens(self, level: int, ref: TopiqFeatures, batch: Sequence[TopiqFeatures]) -> torch.Tensor:
        """Return one level's tokens (cells, B, 256)."""
        net = self._net
        reduced = net.dim_reduce[level](self._gated(level, ref, batch)).float()
        embedding = torch.cat(
            (net.h_emb.expand(-1, -1, -1, net.w_emb.shape[3]), net.w_emb.expand(-1, -1, net.h_emb.shape[2], -1)), dim=1
        )
        embedding = F.interpolate(embedding, size=reduced.shape[2:], mode="bicubic", align_corners=False)
        tokens = (reduced + embedding).flatten(2).permute(2, 0, 1)
        for layer in net.sa_attn_blks[level].layers:
            tokens = _attend_within(layer, tokens)
        return tokens

    def _gated(self, level: int, ref: TopiqFeatures, batch: Sequence[TopiqFeatures]) -> torch.Tensor:
        """Return distorted, reference and difference features (B, 3C, h, w), weighted by how much they differ.

        They come averaged down to the coarsest level's cells where they are larger than that in both directions.
        """
        cells = ref.levels[-1].shape[1:]
        original = ref.levels[level]
        distorted = torch.stack([candidate.levels[level] for candidate in batch])
        # CFANet's sqrt(d^2 + 1e-12) to 5e-7, without a square that overflows in half precision.
        difference = (distorted - original).abs_().clamp_min_(1e-6)
        weight = self._net.weight_pool[level](difference)
        smaller = original.shape[1] > cells[0] and original.shape[2] > cells[1]
        parts = (part * weight for part in (distorted, original, difference))
        return torch.cat([F.adaptive_avg_pool2d(part, cells) if smaller else part for part in parts], dim=1)


def gains_by_half(device: torch.device) -> bool:
    """Tell whether a device computes convolutions faster in half precision."""
    return device.type == "cuda" and int(torch.cuda.get_device_capability(device)[0]) >= _HALF_CAPABILITY


def _build() -> Any:
    """Return pyiqa's "topiq_fr" network with random weights; nothing is downloaded."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyiqa.archs.topiq_arch import CFANet

        # The random weights, soon replaced, must not move the random numbers of the caller's script.
        with torch.random.fork_rng(devices=[]):
            return CFANet(
                semantic_model_name="resnet50",
                model_name="cfanet_fr_kadid_res50",
                use_ref=True,
                pretrained=False,
                backbone_pretrain=False,
            )


def _load(net: Any, weights: str | os.PathLike[str] | Mapping[str, Any] | None) -> None:
    if isinstance(weights, Mapping):
        source, state = "the mapping given", models.state_dict_of(weights)
    else:
        path = models.locate(models.TOPIQ, weights)
        source, state = str(path), models.load_state_dict(path)
    try:
        net.load_state_dict(state)
    except RuntimeError as fault:
        detail = textwrap.shorten(str(fault), 200)
        raise models.ModelError(f"{source} holds weights of another network than TOPIQ's: {detail}") from fault


def _attend_within(layer: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Apply a TransformerEncoderLayer to tokens (T, B, C), without the attention map that its forward keeps."""
    normed = layer.norm1(tokens)
    tokens = tokens + layer.self_attn(normed, normed, normed, need_weights=False)[0]
    return tokens + layer.linear2(layer.activation(layer.linear1(layer.norm2(tokens))))


def _attend_across(layer: Any, query: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Apply a TransformerDecoderLayer: query (T, B, C) looks at tokens (S, B, C)."""
    memory = layer.norm2(tokens)
    query = query + layer.multihead_attn(layer.norm1(query), memory, memory, need_weights=False)[0]
    return query + layer.linear2(layer.activation(layer.linear1(layer.norm3(query))))
