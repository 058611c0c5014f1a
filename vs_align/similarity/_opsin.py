"""What Butteraugli sees in one picture: opsin dynamics and frequency bands, in torch.

Constants and formulas are those of libjxl 0.7's ``lib/jxl/butteraugli/butteraugli.cc`` (``OpsinDynamicsImage``,
``SeparateFrequencies``, ``MaskPsychoImage``, ``FuzzyErosion``). Everything here works on planes (..., H, W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

# Rows: the three receptors; columns: linear red, green, blue, in nits.
_ABSORBANCE = (
    (0.29956550340058319, 0.63373087833825936, 0.077705617820981968),
    (0.22158691104574774, 0.69391388044116142, 0.0987313588422),
    (0.02, 0.02, 0.20480129041026129),
)
_ABSORBANCE_BIAS = (1.7557483643287353, 1.7557483643287353, 12.226454707163354)

_SIGMA_ADAPTATION = 1.2
_SIGMA_LF = 7.15593339443
_SIGMA_HF = 3.22489901262
_SIGMA_UHF = 1.56416327805
_SIGMA_MASK = 2.7

_BLUR_BLOCK = 128
_EROSION_STEP = 3


def srgb_to_linear(rgb: torch.Tensor) -> torch.Tensor:
    """The sRGB transfer function (IEC 61966-2-1), continued to negative values as an odd function."""
    magnitude = rgb.abs()
    curve = ((magnitude + 0.055) / 1.055) ** 2.4
    return torch.where(magnitude <= 0.04045, magnitude / 12.92, curve).copysign(rgb)


def subsample(planes: torch.Tensor) -> torch.Tensor:
    """Means of 2x2 blocks; blocks cut by the right or lower edge are means of what is there."""
    return F.avg_pool2d(planes[None], 2, ceil_mode=True, count_include_pad=False)[0]


class Blur:
    """Gaussians cut at 2.25 sigma, as products with banded matrices that are kept from call to call.

    Args:
        device: where the planes are. On a GPU leave TF32 off for matrix products (torch's default): it costs 3 digits.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._bands: dict[tuple[int, float], list[tuple[int, int, torch.Tensor]]] = {}

    def __call__(self, planes: torch.Tensor, sigma: float) -> torch.Tensor:
        """Blur the last two dimensions."""
        height, width = planes.shape[-2:]
        across = torch.cat([planes[..., a:b] @ band for a, b, band in self._get_bands(width, sigma)], -1)
        return torch.cat([band.T @ across[..., a:b, :] for a, b, band in self._get_bands(height, sigma)], -2)

    def _get_bands(self, length: int, sigma: float) -> list[tuple[int, int, torch.Tensor]]:
        if (length, sigma) not in self._bands:
            bands = _blur_bands(length, sigma)
            self._bands[length, sigma] = [(a, b, band.to(self._device, torch.float32)) for a, b, band in bands]
        return self._bands[length, sigma]


def _blur_bands(length: int, sigma: float) -> list[tuple[int, int, torch.Tensor]]:
    """The blur of a line of ``length`` samples as matrices, each from samples a..b to the next few samples.

    Near the ends the weights that are left are scaled to sum to 1. The five-tap kernel mirrors the line at its ends
    instead (the end sample twice), as libjxl's ``Separable5`` does.
    """
    radius = max(1, int(2.25 * sigma))
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    bands = []
    for start in range(0, length, _BLUR_BLOCK):
        outputs = torch.arange(start, min(start + _BLUR_BLOCK, length))
        a, b = max(0, start - radius), min(length, start + _BLUR_BLOCK + radius)
        sources = outputs[:, None] + offsets
        weights = kernel.expand(sources.shape).contiguous()
        if radius == 2:
            sources = torch.where(sources < 0, -1 - sources, sources)
            sources = torch.where(sources >= length, 2 * length - 1 - sources, sources)
        else:
            weights *= (sources >= 0) & (sources < length)
            sources = sources.clamp(a, b - 1)
        band = torch.zeros((len(outputs), b - a), dtype=torch.float64).scatter_add_(1, sources - a, weights)
        bands.append((a, b, (band / band.sum(1, keepdim=True)).T.contiguous()))
    return bands


def opsin_dynamics(linear: torch.Tensor, intensity_target: float, blur: Blur) -> torch.Tensor:
    """Linear RGB (3, H, W) to X (red against green), Y (yellow) and B (blue), each receptor adapted to its surround."""
    nits = linear * intensity_target
    bias = nits.new_tensor(_ABSORBANCE_BIAS)[:, None, None]
    surround = torch.maximum(_absorb(blur(nits, _SIGMA_ADAPTATION)) + bias, bias)
    # libjxl's HDR-compatible gamma: a logarithm; the sensitivity is its slope from the origin.
    response = 19.245013259874995 * torch.log(surround + 9.9710635769299145) - 23.16046239805755
    sensitivity = (response / surround).clamp(min=1e-4)
    red, green, blue = torch.maximum((_absorb(nits) + bias) * sensitivity, bias)
    return torch.stack((red - green, red + green, blue))


def _absorb(nits: torch.Tensor) -> torch.Tensor:
    return (nits.new_tensor(_ABSORBANCE) @ nits.flatten(1)).view_as(nits)


def frequency_bands(xyb: torch.Tensor, blur: Blur) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """XYB (3, H, W) to ultra high (X, Y), high (X, Y), medium (X, Y, B) and low (X, Y, B) frequencies.

    The low band is in the units in which its squared differences count.
    """
    low = blur(xyb, _SIGMA_LF)
    detail = xyb - low
    medium = blur(detail, _SIGMA_HF)
    high_x, high_y = detail[:2] - medium[:2]
    medium_x, medium_y, medium_b = medium
    high_x = high_x * (0.653020556257 + (1 - 0.653020556257) * 46.0 / (high_y * high_y + 46.0))
    sharp = torch.stack((high_x, high_y))
    high_x, high_y = blur(sharp, _SIGMA_UHF)
    ultra_x = sharp[0] - high_x
    high_y = _clamp_softly(high_y, 28.4691806922)
    ultra_y = _clamp_softly(sharp[1] - high_y, 5.19175294647) * 2.69313763794
    ultra = torch.stack((_shrink(ultra_x, 0.04), ultra_y))
    high = torch.stack((_shrink(high_x, 1.5), _amplify(high_y * 2.155, 0.132)))
    medium = torch.stack((_shrink(medium_x, 0.29), _amplify(medium_y, 0.1), medium_b))
    low_x, low_y, low_b = low
    low = torch.stack((low_x * 32.2217497012, low_y * 13.7697791434, (low_b - 0.362267051518 * low_y) * 47.504615728))
    return ultra, high, medium, low


def _shrink(values: torch.Tensor, width: float) -> torch.Tensor:
    """Remove what lies within ``width`` of zero (a soft threshold)."""
    return F.softshrink(values, width)


def _amplify(values: torch.Tensor, width: float) -> torch.Tensor:
    """Double what lies within ``width`` of zero, and move the rest away from zero by as much."""
    return values + values.clamp(-width, width)


def _clamp_softly(values: torch.Tensor, limit: float) -> torch.Tensor:
    """Scale down what lies beyond ``limit`` on either side."""
    inside = values.clamp(-limit, limit)
    return inside + (values - inside) * 0.724216145665


def activity(ultra: torch.Tensor, high: torch.Tensor, blur: Blur) -> torch.Tensor:
    """How busy the surroundings of each pixel are, (H, W): what masking starts from."""
    busy_x, busy_y = (ultra + high) * ultra.new_tensor((2.5, 0.4))[:, None, None]
    magnitude = torch.sqrt(busy_x * busy_x + busy_y * busy_y)
    bias = 6.19424080439 * 12.61050594197
    return blur(torch.sqrt(6.19424080439 * magnitude + bias) - bias**0.5, _SIGMA_MASK)


def erode(busy: torch.Tensor) -> torch.Tensor:
    """A weighted mean of the three smallest of a pixel, twice the pixel, and the eight pixels three steps away."""
    height, width = busy.shape
    step = _EROSION_STEP
    around = F.pad(busy, (step, step, step, step), value=float("inf"))
    first, second = busy, 2 * busy
    third = second
    for y in (0, step, 2 * step):
        for x in (0, step, 2 * step):
            if (x, y) == (step, step):
                continue
            value = around[y : y + height, x : x + width]
            larger = torch.maximum(first, value)
            third = torch.minimum(third, torch.maximum(second, larger))
            first, second = torch.minimum(first, value), torch.minimum(second, larger)
    return 0.45 * first + 0.3 * second + 0.25 * third
