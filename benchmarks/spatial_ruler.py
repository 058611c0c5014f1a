"""How far a warped picture still is from where it should be: the ruler of benchmarks/spatial.py.

    python benchmarks/spatial_ruler.py      # checks the ruler on shifts that are known exactly

The residual is measured in tiles of 64 px on luma: Hann-windowed phase correlation, upsampled 50 times (Guizar-Sicairos
et al., Efficient subpixel image registration algorithms, 2008), then Lucas-Kanade with a shift by a
sixteen-tap kernel computed for the very shift.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from spatial_pairs import BT709, Picture, pairs, weights

TILE = 64
BORDER = 8
UPSAMPLE = 50
# Taps on each side. Measured: twelve taps, or a Lanczos window, read 0.002 px off.
REACH = 8
# Of the gradient along the weaker direction, root mean square over a tile blurred by sigma 2, in grey levels per px. On
# tiles with less, grain or an encoder leaves too little to measure: the true warp reads half a pixel and more there.
LEAST_TEXTURE = 2.0

type Floats = NDArray[np.float32]
type Doubles = NDArray[np.float64]
type Flags = NDArray[np.bool_]


def luma(picture: NDArray[np.generic]) -> Floats:
    """Return BT.709 luma (H, W) of an RGB picture (H, W, 3); a picture of one plane is its own."""
    values = np.asarray(picture, np.float32)
    return values @ BT709 if values.ndim == 3 else values


def tiles(target: Floats, valid: Flags | None) -> list[tuple[int, int]]:
    """Return the top left corners (y, x) of the tiles that are valid all over and have texture both ways."""
    height, width = target.shape
    smooth = cv2.GaussianBlur(target, (0, 0), 2)
    d_x, d_y = (cv2.Sobel(smooth, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    found = []
    rows, columns = (height - 2 * BORDER) // TILE, (width - 2 * BORDER) // TILE
    top, left = (height - rows * TILE) // 2, (width - columns * TILE) // 2
    for y, x in ((top + TILE * row, left + TILE * column) for row in range(rows) for column in range(columns)):
        cut = np.s_[y : y + TILE, x : x + TILE]
        if valid is not None and not valid[cut].all():
            continue
        xx, xy, yy = (float((a[cut] * b[cut]).mean()) for a, b in ((d_x, d_x), (d_x, d_y), (d_y, d_y)))
        weaker = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
        if weaker > LEAST_TEXTURE**2:
            found.append((y, x))
    return found


def _hann() -> Doubles:
    ramp = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(TILE) + 0.5) / TILE)
    return ramp[:, None] * ramp


def _cut(padded: Floats, corners: Sequence[tuple[int, int]], offsets: NDArray[np.int64], extra: int) -> Doubles:
    """Cut tiles (n, TILE + 2 extra, TILE + 2 extra) out of a picture padded by TILE on each side."""
    side = TILE + 2 * extra
    cuts = [
        padded[(top := TILE + y + o[1] - extra) : top + side, (left := TILE + x + o[0] - extra) : left + side]
        for (y, x), o in zip(corners, offsets, strict=True)
    ]
    return np.stack(cuts).astype(np.float64)


def phase_correlation(out: Doubles, target: Doubles) -> Doubles:
    """Return (n, 2): how far (dx, dy) to look in `out` for what `target` shows; both (n, TILE, TILE)."""
    window = _hann()
    spectra = [np.fft.fft2((t - t.mean((1, 2), keepdims=True)) * window) for t in (out, target)]
    cross = spectra[0] * spectra[1].conj()
    cross /= np.abs(cross) + 1e-3 * np.abs(cross).mean((1, 2), keepdims=True) + 1e-9
    surface = np.fft.ifft2(cross).real
    flat = surface.reshape(len(surface), -1).argmax(1)
    coarse = np.stack([flat % TILE, flat // TILE], 1).astype(np.float64)
    coarse[coarse >= TILE // 2] -= TILE
    # The inverse transform again, around the peak alone, on a grid UPSAMPLE times as fine.
    steps = np.arange(-UPSAMPLE, UPSAMPLE + 1) / UPSAMPLE
    frequency = np.fft.fftfreq(TILE)
    across = np.exp(2j * np.pi * frequency[None, :, None] * (coarse[:, 0, None] + steps)[:, None, :])
    down = np.exp(2j * np.pi * (coarse[:, 1, None] + steps)[:, :, None] * frequency[None, None, :])
    fine = (down @ cross @ across).real
    flat = fine.reshape(len(fine), -1).argmax(1)
    return coarse + np.stack([steps[flat % len(steps)], steps[flat // len(steps)]], 1)


def shifted(padded: Floats, corners: Sequence[tuple[int, int]], shifts: Doubles) -> Doubles:
    """Return the tiles (n, TILE, TILE) at (dx, dy) from their corners."""
    whole = np.floor(shifts).astype(np.int64)
    rest = shifts - whole
    wide = _cut(padded, corners, whole, REACH)
    across, down = (weights(rest[:, k], 2 * REACH, 0.4)[..., None, None] for k in (0, 1))
    # A tap k behind the middle one starts at 1 + k: _cut leaves REACH pixels, the first tap is REACH - 1 before.
    rows = sum(across[k] * wide[:, :, 1 + k : 1 + k + TILE] for k in range(2 * REACH))
    return sum(down[k] * rows[:, 1 + k : 1 + k + TILE] for k in range(2 * REACH))


def _refined(padded: Floats, target: Doubles, corners: Sequence[tuple[int, int]], start: Doubles) -> Doubles:
    """Lucas-Kanade: return the shifts and, as a third column of (n, 3), the squared difference that is left."""
    window = _hann()
    shifts = start.copy()
    for _ in range(8):
        moved = shifted(padded, corners, shifts)
        g_y, g_x = ((a + b) / 2 for a, b in zip(*(np.gradient(t, axis=(1, 2)) for t in (moved, target)), strict=True))
        error = target - moved
        xx, xy, yy, xe, ye = (
            (window * a * b).sum((1, 2)) for a, b in ((g_x, g_x), (g_x, g_y), (g_y, g_y), (g_x, error), (g_y, error))
        )
        scale = 1 / np.maximum(xx * yy - xy * xy, 1e-9)
        step = np.stack([(yy * xe - xy * ye) * scale, (xx * ye - xy * xe) * scale], 1)
        # Beyond a pixel and a half from the start, it has lost its way, or the start was wrong.
        shifts = np.clip(shifts + step.clip(-0.7, 0.7), start - 1.5, start + 1.5)
        if np.abs(step).max() < 1e-4:
            break
    left = (window * (target - shifted(padded, corners, shifts)) ** 2).sum((1, 2))
    return np.concatenate([shifts, left[:, None]], 1)


def displacements(
    out: NDArray[np.generic], target: NDArray[np.generic], valid: Flags | None = None
) -> tuple[list[tuple[int, int]], Doubles]:
    """Return the corners (y, x) of the tiles and their displacements (n, 2) in px, (dx, dy)."""
    out_luma, target_luma = (cv2.GaussianBlur(luma(p), (0, 0), 0.7) for p in (out, target))
    corners = tiles(luma(target), valid)
    if not corners:
        return corners, np.zeros((0, 2))
    edges = (TILE,) * 4
    padded_out, padded_target = (cv2.copyMakeBorder(p, *edges, cv2.BORDER_REFLECT_101) for p in (out_luma, target_luma))
    still = np.zeros((len(corners), 2), np.int64)
    wanted = _cut(padded_target, corners, still, 0)
    phase = phase_correlation(_cut(padded_out, corners, still, 0), wanted).clip(-TILE / 2, TILE / 2)
    # On noisy tiles the highest peak can be anywhere: of it and no displacement, what fits better in the end counts.
    found = _refined(padded_out, wanted, corners, phase)
    far = np.flatnonzero(np.abs(phase).max(1) > 1)
    if len(far):
        near = _refined(padded_out, wanted[far], [corners[k] for k in far], 0 * phase[far])
        found[far] = np.where(near[:, 2:] < found[far, 2:], near, found[far])
    return corners, found[:, :2]


def residual(out: NDArray[np.generic], target: NDArray[np.generic], valid: Flags | None = None) -> float:
    """Return the mean displacement that is left between two pictures, in px; NaN where no tile can be measured.

    Args:
        out: RGB (H, W, 3) or luma (H, W), values from 0 to 255.
        target: The same.
        valid: (H, W), False where the target cannot be reached, because it shows what clip does not.
    """
    _, found = displacements(out, target, valid)
    return float(np.hypot(found[:, 0], found[:, 1]).mean()) if len(found) else float("nan")


def flow_error(flow: Floats | None, flow_true: Floats, textured: Flags, valid: Flags | None = None) -> float:
    """Return the mean end point error in px on textured pixels, 8 px from the border; no flow is a flow of zero."""
    counted = textured.copy() if valid is None else textured & valid
    counted[:BORDER], counted[-BORDER:], counted[:, :BORDER], counted[:, -BORDER:] = (False,) * 4
    if not counted.any():
        return float("nan")
    off = flow_true[counted] - (0 if flow is None else flow[counted])
    return float(np.hypot(off[:, 0], off[:, 1]).mean())


def psnr(out: Picture, target: Picture, where: Flags | None = None) -> float:
    """Return the peak signal to noise ratio in dB over all channels, 99 at most."""
    squared = (out.astype(np.float64) - target) ** 2
    mean = float((squared if where is None else squared[where]).mean())
    return min(99.0, 10 * np.log10(255**2 / max(mean, 1e-9)))


def sharpness_kept(out: Picture, target: Picture, valid: Flags | None = None) -> float:
    """Return the Laplacian energy of the output as a share of the target's, 8 px from the border."""
    inside = (
        np.ones(out.shape[:2], np.bool_) if valid is None else cv2.erode(valid.astype(np.uint8), np.ones((5, 5))) > 0
    )
    inside[:BORDER], inside[-BORDER:], inside[:, :BORDER], inside[:, -BORDER:] = (False,) * 4
    if not inside.any():
        return float("nan")
    energies = [float((cv2.Laplacian(luma(p), cv2.CV_32F)[inside] ** 2).mean()) for p in (out, target)]
    return energies[0] / energies[1] if energies[1] > 1e-6 else float("nan")


def fourier_shift(picture: Floats, d_x: float, d_y: float) -> Floats:
    """Shift a picture exactly: what was at (x + dx, y + dy) comes to (x, y). It goes on as its own mirror image."""
    rows, columns = picture.shape
    picture = np.block([[picture, picture[:, ::-1]], [picture[::-1], picture[::-1, ::-1]]])
    height, width = picture.shape
    turn = np.exp(2j * np.pi * (np.fft.fftfreq(width) * d_x + np.fft.fftfreq(height)[:, None] * d_y))
    return np.fft.ifft2(np.fft.fft2(picture) * turn).real[:rows, :columns].astype(np.float32)


def main() -> None:
    """Shift luma by known amounts, and print how far the ruler is off."""
    print(f"{'picture':36} {'tiles':>5}  largest and mean error in px over the shifts")
    for pair in pairs("clean_shift"):
        still = luma(pair.target)
        errors = []
        for d_x, d_y in ((0.05, 0.02), (0.25, -0.37), (0.5, 0.5), (-0.82, 0.11), (1.3, -2.6), (5.21, 3.4)):
            # Cut away what came round the edge.
            cut = np.s_[16:-16, 16:-16]
            corners, found = displacements(fourier_shift(still, d_x, d_y)[cut], still[cut])
            errors.append(np.hypot(found[:, 0] + d_x, found[:, 1] + d_y))
        spread = np.concatenate(errors)
        print(f"{pair.name:36} {len(corners):5}  {spread.max():.4f} {spread.mean():.5f}")


if __name__ == "__main__":
    main()
