"""Deep features: soft-argmax coordinates of a backbone equal the definition, and the measure works in the filters."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs
from helpers import drawn, held, moving, retime, values

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

import vs_align  # noqa: E402
from vs_align.models import ModelError  # noqa: E402
from vs_align.similarity import resnet as module  # noqa: E402
from vs_align.similarity.resnet import WEIGHTS_ENV, ResNet, is_backbone, soft_argmax  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_torch_thread")]

ROOT = Path(__file__).parents[1]
SMALL = "resnet18"
# A film shown with frames dropped and repeated.
KEPT = [0, 1, 2, 2, 3, 5, 6, 7, 7, 8, 9, 11]


def random_state(model: str, **options: object) -> dict[str, Any]:
    """Weights of a network under which frames differ; every parameter is drawn anew, the usual zeros too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        net = timm.create_model(model, pretrained=False, **options)
        for name, value in net.named_parameters():
            if value.ndim == 1 and name.endswith("weight"):
                value.data.uniform_(0.8, 1.2)
    return net.state_dict()


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    return random_state(SMALL)


@pytest.fixture(scope="module")
def engine(state: dict[str, Any]) -> ResNet:
    return ResNet(model=SMALL, weights=state)


def picture(height: int, width: int, frame: int = 0) -> Any:
    return torch.from_numpy(moving(width, height)(frame)).float()


# ---------------------------------------------------------------- the soft-argmax


def by_loops(maps: np.ndarray) -> np.ndarray:
    """The definition, cell by cell, in double precision."""
    channels, height, width = maps.shape
    found = np.zeros((channels, 2))
    for c in range(channels):
        top = float(maps[c].max())
        weights = [[math.exp(float(maps[c, i, j]) - top) for j in range(width)] for i in range(height)]
        total = math.fsum(math.fsum(row) for row in weights)
        for i in range(height):
            for j in range(width):
                share = weights[i][j] / total
                found[c, 0] += share * (2 * i / (height - 1) - 1 if height > 1 else 0)
                found[c, 1] += share * (2 * j / (width - 1) - 1 if width > 1 else 0)
    return found


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 1), (2, 2), (8, 11), (15, 8)])
@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
def test_soft_argmax_is_the_mean_of_the_softmax(size: tuple[int, int], scale: float) -> None:
    maps = scale * np.random.default_rng(3).standard_normal((5, *size))
    got = soft_argmax(torch.from_numpy(maps.astype(np.float32)))
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), by_loops(maps.astype(np.float32)), rtol=0, atol=3e-6)


def test_soft_argmax_of_one_hot_cell_is_where_it_is() -> None:
    height, width = 5, 9
    for i in range(height):
        for j in range(width):
            maps = torch.zeros(1, height, width)
            maps[0, i, j] = 1000
            np.testing.assert_allclose(soft_argmax(maps)[0].numpy(), [i / 2 - 1, j / 4 - 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (7, 1), (8, 11)])
@pytest.mark.parametrize("level", [0.0, -3.0, 5e4])
def test_soft_argmax_of_a_flat_map_is_the_middle(size: tuple[int, int], level: float) -> None:
    np.testing.assert_allclose(soft_argmax(torch.full((3, *size), level)).numpy(), 0, atol=1e-6)


@pytest.mark.parametrize("lead", [0.0, 0.5, 2.0, -4.0])
def test_soft_argmax_of_two_cells_has_temperature_one(lead: float) -> None:
    """(e^a - 1) / (e^a + 1) is tanh(a / 2)."""
    assert soft_argmax(torch.tensor([[[0.0, lead]]]))[0, 1].item() == pytest.approx(math.tanh(lead / 2), abs=1e-6)


def test_soft_argmax_of_half_precision_is_computed_in_single() -> None:
    maps = (8 * torch.randn(4, 9, 16, generator=torch.Generator().manual_seed(1))).half()
    np.testing.assert_allclose(soft_argmax(maps).numpy(), by_loops(maps.float().numpy()), rtol=0, atol=3e-6)


# ---------------------------------------------------------------- features


def by_hand(state: dict[str, Any], rgb: Any, size: tuple[int, int]) -> np.ndarray:
    """Pillow's bilinear reduction, ImageNet's mean and deviation, timm's own interface to stages, and the loops."""
    image = pytest.importorskip("PIL.Image")
    height, width = size
    planes = [
        np.asarray(image.fromarray(plane.numpy()).resize((width, height), image.Resampling.BILINEAR)) for plane in rgb
    ]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normal = (np.stack(planes) - mean[:, None, None]) / deviation[:, None, None]
    net = timm.create_model(SMALL, pretrained=False, features_only=True, out_indices=(4,)).eval()
    net.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    with torch.inference_mode():
        (maps,) = net(torch.from_numpy(normal[None]).float())
    return by_loops(maps[0].numpy())


@pytest.mark.parametrize(
    ("shape", "size"), [((360, 480), (256, 341)), ((400, 300), (341, 256)), ((90, 90), (256, 256))]
)
def test_features_are_what_the_definition_gives(
    state: dict[str, Any], engine: ResNet, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    rgb = picture(*shape)
    want = by_hand(state, rgb, size)
    assert np.abs(want).mean() > 0.05, "the features must say something, or the test says nothing"
    np.testing.assert_allclose(engine.features(rgb).numpy(), want, rtol=0, atol=2e-4)


def seen(engine: ResNet, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the network is given from now on."""
    inputs, run = [], engine._net.forward_intermediates

    def note(batch: Any, **options: Any) -> Any:
        inputs.append(batch)
        return run(batch, **options)

    monkeypatch.setattr(engine._net, "forward_intermediates", note)
    return inputs


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((720, 1280), (256, 455)),
        ((1080, 608), (455, 256)),
        ((64, 64), (256, 256)),
        ((1, 1), (256, 256)),
        ((10, 160), (256, 4096)),
        # Beyond 16:1 the short side gives way.
        ((10, 240), (171, 4096)),
        ((1, 5000), (128, 4096)),
    ],
)
def test_short_side_is_256(
    engine: ResNet, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    inputs = seen(engine, monkeypatch)
    assert engine.features(torch.rand(3, *shape)).shape == (512, 2)
    assert [tuple(given.shape) for given in inputs] == [(1, 3, *size)]


def test_resnet50_has_2048_channels_at_stride_32() -> None:
    engine = ResNet(weights=timm.create_model("resnet50", pretrained=False).state_dict())
    features = engine.features(picture(256, 320))
    assert features.shape == (2048, 2)
    assert features.nbytes == 4 * 2 * 2048
    maps = module._last_stage(engine._net, torch.zeros(1, 3, 256, 320))
    assert maps.shape == (1, 2048, 8, 10)


def test_colours_outside_are_clamped(engine: ResNet) -> None:
    wild = 3 * picture(60, 80) - 1
    assert torch.equal(engine.features(wild), engine.features(wild.clamp(0, 1)))


def test_half_is_ignored_on_the_cpu(state: dict[str, Any], engine: ResNet) -> None:
    frame = picture(60, 80)
    half = ResNet("cpu", model=SMALL, weights=state, half=True)
    assert torch.equal(half.features(frame), engine.features(frame))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-2), (True, 1e-1)])
def test_cuda(state: dict[str, Any], engine: ResNet, half: bool, tolerance: float) -> None:
    on_gpu = ResNet("cuda", model=SMALL, weights=state, half=half)
    frames = [picture(120, 160, n) for n in range(5)]
    got = on_gpu.distances(on_gpu.features(frames[0]), [on_gpu.features(frame) for frame in frames])
    want = engine.distances(engine.features(frames[0]), [engine.features(frame) for frame in frames])
    assert got[0] == 0
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=0)


# ---------------------------------------------------------------- distances


def test_distance_is_euclidean_and_nought_for_the_same_frame(engine: ResNet) -> None:
    features = [engine.features(picture(60, 80, n)) for n in (3, 3, 4, 9)]
    got = engine.distances(features[0], features)
    arrays = [each.numpy().astype(np.float64) for each in features]
    want = [math.sqrt(math.fsum(((a - arrays[0]) ** 2).ravel())) for a in arrays]
    assert got.dtype == np.float64
    assert list(got[:2]) == [0, 0]
    assert 0.1 < want[2] < want[3]
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [None, 1, 3, 100])
def test_batch_size_changes_nothing(engine: ResNet, batch_size: int | None) -> None:
    features = [torch.randn(512, 2, generator=torch.Generator().manual_seed(n)) for n in range(7)]
    got = engine.distances(features[0], features, batch_size)
    np.testing.assert_allclose(got, [np.linalg.norm((f - features[0]).numpy()) for f in features], rtol=1e-5)


def test_no_candidates(engine: ResNet) -> None:
    assert engine.distances(torch.zeros(512, 2), []).shape == (0,)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [(0, 0, 0), (2, 299, 399), (1, 150, 7)])
def test_pixel_that_is_not_finite_is_infinitely_far(engine: ResNet, value: float, place: tuple[int, int, int]) -> None:
    clean = picture(300, 400)
    broken = clean.clone()
    broken[place] = value
    features = [engine.features(clean), engine.features(broken)]
    assert list(engine.distances(features[0], features)) == [0, math.inf]
    assert list(engine.distances(features[1], features)) == [math.inf, math.inf]


# ---------------------------------------------------------------- other backbones

OTHERS = {
    "mobilenetv3_small_100": (256, 320),
    "densenet121": (256, 320),
    # Multiples of 32 only.
    "hrnet_w18_small": (256, 320),
    "vit_tiny_patch16_224": (256, 320),
    # One size only.
    "eva02_tiny_patch14_224": (224, 224),
}


@pytest.mark.parametrize("model", OTHERS)
def test_any_backbone_has_coordinates(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = timm.create_model(model, pretrained=False)
    engine = ResNet(model=model, weights=net.state_dict())
    inputs = seen(engine, monkeypatch)
    features = engine.features(picture(120, 153))
    size = (256, 326) if model in ("mobilenetv3_small_100", "densenet121") else OTHERS[model]
    assert tuple(inputs[0].shape[2:]) == size
    assert features.ndim == 2
    assert features.shape[1] == 2
    assert features.shape[0] in {info["num_chs"] for info in net.feature_info}
    assert features.abs().max() <= 1


def test_picture_is_normalised_as_the_backbone_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """This one's mean and deviation are 0.5 in each channel."""
    engine = ResNet(model="vit_tiny_patch16_224", weights=random_state("vit_tiny_patch16_224"))
    inputs = seen(engine, monkeypatch)
    engine.features(torch.full((3, 32, 32), 0.75))
    np.testing.assert_allclose(inputs[0].numpy(), 0.5, atol=1e-6)


def test_what_is_no_backbone() -> None:
    assert is_backbone("resnet50")
    assert is_backbone("resnet50.a1_in1k")
    assert not any(is_backbone(name) for name in ("", "resnet", "resnet50.nosuchtag", "local-dir:somewhere"))


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("kind", ["pth", "wrapped", "safetensors", "headless", "variable", "mapping"])
def test_weights_from(
    kind: str, state: dict[str, Any], engine: ResNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, given = picture(60, 80), tmp_path / f"weights.{'safetensors' if kind == 'safetensors' else 'pth'}"
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(state, given)
    else:
        headless = {name: value for name, value in state.items() if not name.startswith("fc.")}
        torch.save({"wrapped": {"state_dict": state}, "headless": headless}.get(kind, state), given)
    if kind == "variable":
        monkeypatch.setenv(WEIGHTS_ENV, str(given))
    source = {"variable": None, "mapping": state}.get(kind, given)
    assert torch.equal(ResNet(model=SMALL, weights=source).features(frame), engine.features(frame))


def refused(model: str, weights: object) -> str:
    with pytest.raises(ModelError) as caught:
        ResNet(model=model, weights=weights)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize("other", ["resnet34", "resnet50"])
def test_weights_of_another_network(other: str) -> None:
    assert "another network than 'resnet18'" in refused(SMALL, timm.create_model(other, pretrained=False).state_dict())


def test_weights_of_another_shape(state: dict[str, Any]) -> None:
    assert "conv1.weight" in refused(SMALL, {**state, "conv1.weight": torch.zeros(64, 1, 7, 7)})


def test_weights_that_lack_something(state: dict[str, Any]) -> None:
    assert "bn1.bias" in refused(SMALL, {name: value for name, value in state.items() if name != "bn1.bias"})


def test_weights_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no weights file at" in refused(SMALL, tmp_path / "missing.pth")
    monkeypatch.setenv(WEIGHTS_ENV, str(tmp_path / "gone.pth"))
    message = refused(SMALL, None)
    assert "gone.pth" in message
    assert WEIGHTS_ENV in message


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04" + bytes(100)])
def test_weights_file_that_is_no_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    assert "broken.pth" in refused(SMALL, path)


# ---------------------------------------------------------------- the download


@pytest.fixture
def hub(state: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for timm's download, which gives these weights; the models asked for."""
    asked, create = [], timm.create_model

    def created(model: str, pretrained: bool = False, **options: Any) -> Any:
        net = create(model, pretrained=False, **options)
        if pretrained:
            asked.append(model)
            net.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
        return net

    monkeypatch.setattr(timm, "create_model", created)
    monkeypatch.delenv(WEIGHTS_ENV, raising=False)
    return asked


def test_weights_come_from_timm_where_none_are_given(hub: list[str], engine: ResNet) -> None:
    frame = picture(60, 80)
    assert torch.equal(ResNet(model=SMALL).features(frame), engine.features(frame))
    assert hub == [SMALL]


def test_nothing_is_downloaded_where_weights_are_given(hub: list[str], state: dict[str, Any]) -> None:
    ResNet(model=SMALL, weights=state)
    assert hub == []


@pytest.mark.parametrize("fault", [OSError("no route\nto host"), RuntimeError("404"), ValueError(), ImportError("hub")])
def test_a_failed_download_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(timm, "create_model", fail)
    monkeypatch.delenv(WEIGHTS_ENV, raising=False)
    message = refused(SMALL, None)
    assert "cannot be had from timm" in message
    assert "weights=" in message


def test_a_backbone_without_weights_is_not_used_untrained(hub: list[str]) -> None:
    name = next(name for name in timm.list_models("coat*") if not timm.get_pretrained_cfg(name).has_weights)
    assert "has no weights" in refused(name, None)
    assert hub == []


def test_construction_is_silent_offline_and_leaves_no_trace(state: dict[str, Any], tmp_path: Path) -> None:
    path, home = tmp_path / "weights.pth", tmp_path / "home"
    torch.save(state, path)
    home.mkdir()
    script = (
        "import socket, sys\n"
        "def refuse(*args, **keywords): raise AssertionError('network access')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from vs_align.similarity.resnet import ResNet\n"
        "import torch\n"
        "before = torch.get_rng_state()\n"
        "ResNet(model='resnet18', weights=sys.argv[1]).features(torch.zeros(3, 9, 9))\n"
        "assert torch.equal(before, torch.get_rng_state())\n"
    )
    folders = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "c"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, **folders},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []


# ---------------------------------------------------------------- in the filters


def film(length: int = 12, width: int = 64, height: int = 48, format: int = vs.RGB24) -> vs.VideoNode:
    return held(drawn(moving(width, height), length, format))


def synced(state: dict[str, Any], clip: vs.VideoNode, ref: vs.VideoNode, **options: object) -> vs.VideoNode:
    given = {"similarity": "resnet", "model": SMALL, "weights": state, "device": "cpu", "tr": 3} | options
    return vs_align.temporal(clip, ref, **given)


def rgb_of(clip: vs.VideoNode, n: int) -> Any:
    frame = clip.resize.Bicubic(format=vs.RGBS).get_frame(n)
    return torch.from_numpy(np.stack([np.array(frame[p]) for p in range(3)]))


@pytest.mark.parametrize("format", [vs.RGB24, vs.GRAY8, vs.YUV420P10, vs.RGBS], ids=lambda format: format.name)
def test_the_same_frames_are_found_at_nought(state: dict[str, Any], format: int) -> None:
    clip = film(format=format)
    found = synced(state, clip, retime(clip, KEPT))
    assert values(found) == KEPT
    assert values(found, "AlignScore") == [0.0] * len(KEPT)


def test_the_score_is_the_measures_and_the_smallest_of_the_window(state: dict[str, Any], engine: ResNet) -> None:
    ref = film(8)
    clip = ref.std.Expr("x 0.8 * 20 +").std.BoxBlur(hradius=1, vradius=1)
    found = synced(state, clip, ref, tr=2)
    of_clip, of_ref = ([engine.features(rgb_of(node, n)) for n in range(8)] for node in (clip, ref))
    for n in range(8):
        window = range(max(0, n - 2), min(8, n + 3))
        distances = {m: float(torch.linalg.vector_norm(of_clip[m] - of_ref[n])) for m in window}
        best = min(distances, key=distances.__getitem__)
        with found.get_frame(n) as frame:
            assert frame.props["AlignFrame"] == best
            assert frame.props["AlignScore"] == pytest.approx(distances[best], rel=1e-3)


def test_features_are_computed_once_a_frame(state: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given, features = [], ResNet.features

    def counted(self: ResNet, rgb: Any) -> Any:
        given.append(rgb.numpy().tobytes())
        return features(self, rgb)

    monkeypatch.setattr(ResNet, "features", counted)
    clip = film(10)
    ref = clip.std.Invert()
    found = synced(state, clip, ref)
    assert given == []
    values(found)
    assert len(given) == len(set(given)) == 20


def test_any_order_and_two_threads_give_the_same(state: dict[str, Any]) -> None:
    clip = film()
    ref = retime(clip.std.Expr("x 0.9 *"), KEPT)

    def row(frame: vs.VideoFrame) -> tuple[object, ...]:
        return tuple(frame.props[name] for name in ("AlignFrame", "AlignScore", "AlignConfidence"))

    expected = [row(frame) for frame in synced(state, clip, ref).frames()]
    order = random.Random(5).sample(range(ref.num_frames), ref.num_frames)
    shuffled = synced(state, clip, ref)
    assert {n: row(shuffled.get_frame(n)) for n in order} == dict(enumerate(expected))
    before = vs.core.num_threads
    vs.core.num_threads = 2
    try:
        parallel = synced(state, clip, ref)
        waiting = {n: parallel.get_frame_async(n) for n in order}
        assert {n: row(future.result()) for n, future in waiting.items()} == dict(enumerate(expected))
    finally:
        vs.core.num_threads = before


@pytest.mark.parametrize("mode", ["dtw", "offset"])
def test_modes_beside_match(state: dict[str, Any], mode: str) -> None:
    clip = film()
    assert values(synced(state, clip, clip[2:], mode=mode, tr=None)) == list(range(2, 12))


def test_a_candidate_without_a_number_is_never_the_best(state: dict[str, Any]) -> None:
    clip = film(6, format=vs.RGBS)

    def spoil(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        if n == 3:
            np.asarray(frame[1])[5, 6] = np.nan
        return frame

    found = values(synced(state, clip.std.ModifyFrame(clip, spoil), clip, tr=2))
    assert found[3] in (2, 4)
    assert found[:3] + found[4:] == [0, 1, 2, 4, 5]


def test_analyse_by_deep_features(state: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    clip = film(30)
    found = vs_align.analyse(
        clip, clip[7:], similarity="resnet", model=SMALL, weights=path, geometry=None, tr=3, device="cpu"
    )
    assert list(found.frame) == list(range(7, 30))
    assert found.offset_frames == 7
    assert np.all(found.score == 0)


@pytest.mark.parametrize("call", [vs_align.temporal, vs_align.analyse], ids=["temporal", "analyse"])
@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"model": "resnet-50"}, ValueError, r"model must be the name of a timm backbone.*'resnet-50'"),
        ({"model": "x" * 1000}, ValueError, r"model must be the name of a timm backbone"),
        ({"model": "resnet50.nosuchtag"}, ValueError, r"model must be the name of a timm backbone"),
        ({"model": SMALL, "weights": {"a": 1}}, RuntimeError, r"no weights"),
        ({"model": SMALL, "weights": "nowhere.pth"}, RuntimeError, r"no weights file at nowhere\.pth"),
    ],
    ids=["unknown", "huge", "tag", "no tensors", "no file"],
)
def test_what_is_refused(
    call: Callable[..., object], options: dict[str, object], kind: type[Exception], says: str
) -> None:
    clip = film(4)
    with pytest.raises(kind, match=says) as caught:
        call(clip, clip, similarity="resnet", device="cpu", **options)
    message = str(caught.value)
    assert message.startswith(f"vs_align.{call.__name__}: ")
    assert "\n" not in message
    assert len(message) < 400
