"""TOPIQ: equal to pyiqa's CFANet on the same weights, with one backbone run per frame."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pyiqa")

from vs_align.models import ModelError  # noqa: E402
from vs_align.similarity.topiq import MINIMUM_SIZE, Topiq, TopiqFeatures  # noqa: E402

pytestmark = [pytest.mark.torch]

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def network() -> Any:
    """CFANet as pyiqa's "topiq_fr" configures it, with random weights under which scores differ between frames."""
    from pyiqa.archs.topiq_arch import CFANet
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    options = {key: value for key, value in DEFAULT_CONFIGS["topiq_fr"]["metric_opts"].items() if key != "type"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        net = CFANet(**options, pretrained=False, backbone_pretrain=False).eval().requires_grad_(False)
        for name, value in net.named_parameters():
            if name.startswith(("weight_pool", "dim_reduce")):
                value.mul_(3)
        for name, value in net.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(std=0.1)
    return net


@pytest.fixture(scope="module")
def weights(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({"params": network.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def topiq(weights: Path) -> Topiq:
    return Topiq(weights=weights)


def frames(height: int, width: int, count: int = 5) -> list[Any]:
    """Return a random frame, the same again, and ever noisier and darker versions of it."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    clean = torch.rand(3, height, width, generator=generator)
    noise = torch.randn(count, 3, height, width, generator=generator)
    return [clean] + [(clean * (1 - 0.15 * k) + 0.15 * k * noise[k]).clamp(0, 1) for k in range(count)]


def expected(network: Any, ref: Any, candidates: Sequence[Any]) -> Any:
    with torch.no_grad():
        return np.array([1 - network(candidate[None], ref[None]).item() for candidate in candidates])


SIZES = [(1, 1), (1, 9), (2, 2), (17, 31), (32, 32), (32, 200), (33, 47), (64, 64), (95, 129)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_equals_cfanet(network: Any, topiq: Topiq, height: int, width: int) -> None:
    ref, *candidates = frames(height, width)
    want = expected(network, ref, candidates)
    assert np.ptp(want) > 2e-3, "the frames must differ by more than the tolerance, or the test says nothing"
    features = [topiq.features(frame) for frame in candidates]
    for batch_size in (None, 1, 2, 5, 100):
        got = topiq.distances(topiq.features(ref), features, batch_size)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(360, 480), (271, 483)])
def test_equals_cfanet_on_whole_frames(network: Any, topiq: Topiq, height: int, width: int) -> None:
    ref, *candidates = frames(height, width)
    got = topiq.distances(topiq.features(ref), [topiq.features(frame) for frame in candidates], 3)
    np.testing.assert_allclose(got, expected(network, ref, candidates), rtol=0, atol=1e-4)


def test_ref_and_candidate_are_not_interchangeable(network: Any, topiq: Topiq) -> None:
    ref, _, _, distorted, *_ = frames(64, 96)
    forth, back = expected(network, ref, [distorted])[0], expected(network, distorted, [ref])[0]
    assert abs(forth - back) > 1e-3
    assert topiq.distances(topiq.features(distorted), [topiq.features(ref)])[0] == pytest.approx(back, abs=1e-4)


def test_backbone_runs_once_per_frame(topiq: Topiq) -> None:
    calls = []
    hook = topiq._net.semantic_model.register_forward_hook(lambda *_: calls.append(1))
    try:
        features = [topiq.features(frame) for frame in frames(40, 50)]
        assert len(calls) == len(features)
        topiq.distances(features[0], features[1:], 2)
        topiq.distances(features[1], features)
        assert len(calls) == len(features)
    finally:
        hook.remove()


def test_batch_size_bounds_the_head(topiq: Topiq) -> None:
    sizes = []
    hook = topiq._net.score_linear.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    try:
        ref, *candidates = [topiq.features(frame) for frame in frames(33, 33)]
        topiq.distances(ref, candidates, 2)
    finally:
        hook.remove()
    assert sizes == [2, 2, 1]


def test_colours_outside_are_clamped(network: Any, topiq: Topiq) -> None:
    ref, frame = frames(48, 48)[::5]
    wild = frame * 3 - 1
    got = topiq.distances(topiq.features(ref), [topiq.features(wild)])
    np.testing.assert_allclose(got, expected(network, ref, [wild.clamp(0, 1)]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("batch_size", [None, 10])
def test_pixel_that_is_not_finite(network: Any, topiq: Topiq, value: float, batch_size: int | None) -> None:
    ref, *candidates = frames(64, 80)
    broken = candidates[2].clone()
    broken[1, 63, 0] = value
    features = [topiq.features(frame) for frame in (*candidates, broken)]
    got = topiq.distances(topiq.features(ref), features, batch_size)
    assert got[-1] == np.inf
    np.testing.assert_allclose(got[:-1], expected(network, ref, candidates), rtol=0, atol=1e-4)
    assert np.all(topiq.distances(features[-1], features) == np.inf)


def test_no_candidates(topiq: Topiq) -> None:
    ref = topiq.features(torch.zeros(3, 8, 8))
    assert topiq.distances(ref, []).shape == (0,)


def test_nbytes_is_the_memory_of_the_levels(topiq: Topiq) -> None:
    features = topiq.features(torch.zeros(3, 64, 96))
    channels_and_cells = [(64, 32 * 48), (256, 16 * 24), (512, 8 * 12), (1024, 4 * 6), (2048, 2 * 3)]
    assert isinstance(features, TopiqFeatures)
    assert features.nbytes == 4 * sum(channels * cells for channels, cells in channels_and_cells)


@pytest.mark.parametrize("shape", [(3, 0, 8), (3, 8, 0)])
def test_frame_below_the_minimum(topiq: Topiq, shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"at least {MINIMUM_SIZE}x{MINIMUM_SIZE}") as caught:
        topiq.features(torch.zeros(shape))
    assert "\n" not in str(caught.value)


def test_half_is_ignored_on_the_cpu(weights: Path, topiq: Topiq) -> None:
    frame = frames(40, 40)[0]
    half = Topiq("cpu", weights=weights, half=True).features(frame)
    assert all(torch.equal(a, b) for a, b in zip(half.levels, topiq.features(frame).levels, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-3), (True, 2e-2)])
def test_cuda(network: Any, weights: Path, half: bool, tolerance: float) -> None:
    topiq = Topiq("cuda", weights=weights, half=half)
    ref, *candidates = frames(95, 129)
    got = topiq.distances(topiq.features(ref), [topiq.features(frame) for frame in candidates])
    np.testing.assert_allclose(got, expected(network, ref, candidates), rtol=0, atol=tolerance)


def test_weights_as_a_mapping(network: Any, topiq: Topiq) -> None:
    frame = frames(40, 40)[0]
    mine = Topiq(weights=network.state_dict()).features(frame)
    assert all(torch.equal(a, b) for a, b in zip(mine.levels, topiq.features(frame).levels, strict=True))


def test_weights_from_the_environment_variable(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VS_ALIGN_TOPIQ", str(weights))
    assert Topiq().features(torch.zeros(3, 8, 8)).nbytes > 0


def test_weights_of_another_network(network: Any) -> None:
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("attn_pool")}
    with pytest.raises(ModelError, match=r"another network.*attn_pool") as caught:
        Topiq(weights=state)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape(network: Any) -> None:
    with pytest.raises(ModelError, match=r"another network.*h_emb"):
        Topiq(weights={**network.state_dict(), "h_emb": torch.zeros(1, 2, 3, 1)})


def test_construction_is_silent_offline_and_leaves_no_trace(weights: Path, tmp_path: Path) -> None:
    script = (
        "import socket, sys, warnings\n"
        "def refuse(*args, **keywords): raise AssertionError('network access')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from vs_align.similarity.topiq import Topiq\n"
        "import torch\n"
        "state = torch.get_rng_state()\n"
        "Topiq(weights=sys.argv[1]).features(torch.zeros(3, 9, 9))\n"
        "assert torch.equal(state, torch.get_rng_state())\n"
    )
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "c"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(weights)],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
