"""The alignment network: one flow field, refined from coarse to fine by one small network that all scales share.

            ref at 1/s ──▶ features ─────────────┐
                                                 ├─▶ correlation ─▶ update ─▶ flow + step, spread, memory
            clip at 1/s ─▶ features ─▶ warped ───┘        ▲                        │
                                         ▲                └─────── memory ◀────────┤
                                         └──────────────────────── flow ◀──────────┘

for s = 8, 4, 2, 1; features lie on a grid of 4 s pixels. Encoder and update have the same weights at every scale, so
that what is learned at one serves all, and pictures of any size.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .judge import Judge

__all__ = ["AlignNet", "NetOutput"]

_STRIDE = 4
"""Pixels of a scale's picture for one of its cells."""
_SCALES = (8, 4, 2, 1)
_NEIGHBOURHOOD = 15
# Deviation of luma (0 to 255) below which a place counts as flat.
_FLAT = 4.0


@dataclass(frozen=True, slots=True)
class NetOutput:
    """What the network says of a pair.

    Attributes:
        flow: where to sample clip for each cell of ref, displacement (dx, dy) in pixels, shape (B, 2, H / 8, W / 8).
        spread: the error to expect of it, pixels, shape (B, 1, H / 8, W / 8).
        memory: what the last update has to say of the cells besides, shape (B, memory, H / 8, W / 8).
        steps: the (flow, spread) after each update, coarse first, on grids of 32 to 4 px: for training.
    """

    flow: Tensor
    spread: Tensor
    memory: Tensor
    steps: tuple[tuple[Tensor, Tensor], ...]


class AlignNet(nn.Module):
    """Estimates the flow from ref to clip.

    Args:
        features: channels of the features that are compared.
        memory: channels that the update hands to the next one.
        width: channels of the update's first layer.
        reach: cells that are compared each way.
        updates: how many there are at each of the four scales, coarse first.

    Source:
        Coarse to fine with warped features and a local correlation: Sun et al., "PWC-Net", 2018. One update shared by
        all steps: Teed and Deng, "RAFT", 2020. One network shared by all scales: Ranjan and Black's pyramid, 2017,
        with shared weights as in Hur and Roth, "Iterative Residual Refinement", 2019.
    """

    def __init__(
        self,
        features: int = 32,
        memory: int = 32,
        width: int = 96,
        reach: int = 3,
        updates: tuple[int, ...] = (2, 2, 2, 1),
    ) -> None:
        super().__init__()
        self.config = {
            "features": features,
            "memory": memory,
            "width": width,
            "reach": reach,
            "updates": list(updates),
        }
        self.reach = reach
        self.updates = tuple(updates)
        self.memory = memory
        self.encoder = _Encoder(features)
        self.update = _Update(reach, features, width, memory)
        self.judge = Judge(memory)

    def forward(self, ref: Tensor, clip: Tensor, start: Tensor | None = None) -> NetOutput:
        """Estimate the flow.

        Args:
            ref, clip: luma, 0 to 255, shape (B, 1, H, W), sides multiples of 32.
            start: a flow to begin with, pixels, shape (B, 2, H / 8, W / 8); clip is warped by it before it is compared.
        """
        if start is None:
            return self._estimated(ref, clip)
        there = _warped(clip, F.interpolate(start, scale_factor=8.0, mode="bilinear", align_corners=False))
        found = self._estimated(ref, there)
        return NetOutput(found.flow + _warped(start, found.flow / 8), found.spread, found.memory, found.steps)

    def _estimated(self, ref: Tensor, clip: Tensor) -> NetOutput:
        batch, _, height, width = ref.shape
        both = torch.cat([ref, clip])
        coarsest = _STRIDE * _SCALES[0]
        flow = ref.new_zeros(batch, 2, height // coarsest, width // coarsest)
        memory = ref.new_zeros(batch, self.memory, *flow.shape[2:])
        steps: list[tuple[Tensor, Tensor]] = []
        for scale, updates in zip(_SCALES, self.updates, strict=True):
            if scale != _SCALES[0]:
                flow, memory = (F.interpolate(x, scale_factor=2.0, mode="bilinear") for x in (flow, memory))
            features = self.encoder(_comparable(F.avg_pool2d(both, scale) if scale > 1 else both))
            of_ref, of_clip = features.chunk(2)
            cell = _STRIDE * scale
            for _ in range(updates):
                # Where to look is taken as given, as in RAFT: gradients flow through what is found there.
                flow = flow.detach()
                alike = _correlation(of_ref, _warped(of_clip, flow / cell), self.reach)
                step, spread, memory = self.update(alike, of_ref, memory)
                flow = flow + step.float() * cell
                steps.append((flow, spread.float() * cell))
        flow, spread = _on_cells(*steps[-1])
        return NetOutput(flow, spread, F.avg_pool2d(memory.float(), 2), tuple(steps))


class _Encoder(nn.Module):
    """Features of unit length, one vector for 4 x 4 pixels."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(2, features // 2, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(features // 2, features, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([_Residual(features) for _ in range(2)])
        self.out = nn.Conv2d(features, features, 1)

    def forward(self, picture: Tensor) -> Tensor:
        x = F.leaky_relu(self.coarse(F.leaky_relu(self.fine(picture), 0.1)), 0.1)
        for block in self.blocks:
            x = block(x)
        x = self.out(x)
        # What all cells have in common would make any two of them alike.
        return F.normalize(x - x.mean((2, 3), keepdim=True), dim=1, eps=1e-3)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.second(F.leaky_relu(self.first(x), 0.1)), 0.1)


class _Update(nn.Module):
    """From how alike the neighbouring cells are to the next step of the flow, in cells.

    The step begins as the mean of the neighbours' offsets, each as likely as it is alike (a soft argmax), and is
    corrected from there: so the features learn from the first step on, and the correction has little to do.
    """

    offsets: Tensor

    def __init__(self, reach: int, features: int, width: int, memory: int) -> None:
        super().__init__()
        count = (2 * reach + 1) ** 2
        self.sharpness = nn.Parameter(torch.tensor(2.7))
        self.first = nn.Conv2d(count + 2 + features + memory, width, 3, padding=1)
        self.second = nn.Conv2d(width, 2 * width // 3, 3, padding=1)
        self.out = nn.Conv2d(2 * width // 3, 4 + memory, 3, padding=1)
        # It begins with small steps and without a correction.
        nn.init.zeros_(self.out.weight[:2])
        nn.init.zeros_(self.out.bias)
        nn.init.constant_(self.out.bias[2:3], -2.0)
        line = torch.arange(-reach, reach + 1, dtype=torch.float32)
        offsets = torch.stack([line.repeat(2 * reach + 1), line.repeat_interleave(2 * reach + 1)])
        self.register_buffer("offsets", offsets[..., None, None], persistent=False)

    def forward(self, alike: Tensor, features: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        likely = torch.softmax(alike.float() * self.sharpness.exp(), 1)
        mean = torch.einsum("bkhw,ckij->bchw", likely, self.offsets)
        x = torch.cat([likely * likely.shape[1] - 1, mean, features, memory], 1)
        x = self.out(F.leaky_relu(self.second(F.leaky_relu(self.first(x), 0.1)), 0.1))
        # In half precision a spread of nothing would divide by it.
        spread = F.softplus(x[:, 3:4].float()) + 1e-3
        return torch.sigmoid(x[:, 2:3]) * mean + x[:, :2], spread, torch.tanh(x[:, 4:])


def _comparable(picture: Tensor) -> Tensor:
    """Return luma with the local mean and deviation taken out, beside plain luma about 0; shape (B, 2, h, w)."""
    x = picture / 255 - 0.5
    mean, square = (_mean_around(part) for part in (x, x * x))
    deviation = torch.sqrt((square - mean * mean).clamp(min=0) + (_FLAT / 255) ** 2)
    return torch.cat([(x - mean) / deviation, 2 * x], 1)


def _mean_around(x: Tensor) -> Tensor:
    reach = _NEIGHBOURHOOD // 2
    x = F.avg_pool2d(x, (1, _NEIGHBOURHOOD), 1, (0, reach), count_include_pad=False)
    return F.avg_pool2d(x, (_NEIGHBOURHOOD, 1), 1, (reach, 0), count_include_pad=False)


def _correlation(ref: Tensor, clip: Tensor, reach: int) -> Tensor:
    """Return the cosine between each cell of ref and those of clip around it, shape (B, (2 reach + 1)^2, h, w)."""
    height, width = ref.shape[2:]
    # Zeros would be like nothing, and so draw the mean of the offsets inwards.
    padded = F.pad(clip, (reach,) * 4, mode="replicate")
    offsets = range(2 * reach + 1)
    alike = [(ref * padded[:, :, y : y + height, x : x + width]).sum(1) for y in offsets for x in offsets]
    return torch.stack(alike, 1)


def _warped(picture: Tensor, flow: Tensor) -> Tensor:
    """Return a picture where a flow points to, in its own pixels; outside it, its border goes on."""
    height, width = flow.shape[2:]
    across = flow[:, 0].float() + torch.arange(width, device=flow.device)
    down = flow[:, 1].float() + torch.arange(height, device=flow.device)[:, None]
    if picture.is_cuda and torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled():
        return _gathered(picture, across, down)
    # grid_sample's -1 and 1 are the middles of the outermost pixels.
    scale = [2 / max(side - 1, 1) for side in (picture.shape[3], picture.shape[2])]
    where = torch.stack([across * scale[0] - 1, down * scale[1] - 1], -1)
    return F.grid_sample(picture.float(), where, padding_mode="border", align_corners=True).to(picture.dtype)


def _gathered(picture: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Sample as `_warped` does, in steps whose gradient is the same every time on CUDA: training repeats itself."""
    batch, channels, height, width = picture.shape
    x, y = across.clamp(0, width - 1), down.clamp(0, height - 1)
    left, top = x.floor().clamp(max=max(width - 2, 0)), y.floor().clamp(max=max(height - 2, 0))
    share_x, share_y = (x - left)[:, None], (y - top)[:, None]
    flat = picture.flatten(2).transpose(1, 2).reshape(batch * height * width, channels)
    first = (torch.arange(batch, device=picture.device) * (height * width))[:, None, None]
    place = first + top.long() * width + left.long()
    right, below = min(1, width - 1), width * min(1, height - 1)
    corners = [flat[place + k].permute(0, 3, 1, 2) for k in (0, right, below, right + below)]
    upper, lower = (a + (b - a) * share_x for a, b in (corners[:2], corners[2:]))
    return (upper + (lower - upper) * share_y).to(picture.dtype)


def _on_cells(flow: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Bring the finest flow and spread from 4 px to 8 px: the mean of four cells, by how sure each is."""
    weight = spread.clamp(min=0.05) ** -2
    total = F.avg_pool2d(weight, 2)
    return F.avg_pool2d(flow * weight, 2) / total, F.avg_pool2d(spread * weight, 2) / total
