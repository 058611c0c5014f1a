"""The network of similarity="embedding": its parts against definitions, and the files it is read from."""

import json
import re
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import drawn, held, moving, one_line
from safetensors.numpy import load_file, save_file

import vs_align
from vs_align.models import ModelError
from vs_align.similarity.embedding import blas, files
from vs_align.similarity.embedding.engine import UNIT, half_squares
from vs_align.similarity.embedding.framing import IDENTITY, INPUT, ROUGH, STEPS, Framing, framed, neighbours, normalised
from vs_align.similarity.embedding.networks import open_network
from vs_align.similarity.embedding.numpy_net import CONVOLUTIONS, FrameSizes, NumpyNet, shapes
from vs_align.similarity.embedding.time_filters import high_pass
from vs_align.similarity.small_luma import SMALL

SIZES = FrameSizes(3, 4, 5, 6, 7)


def tensors(sizes: FrameSizes = SIZES, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes(sizes).items()}


def slowly(pictures: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """The network by its definition, in float64."""
    made = []
    for picture in pictures:
        maps = picture[None].astype(np.float64)
        for layer, (side, stride, padding) in enumerate(CONVOLUTIONS):
            kernel = weights[f"convolutions.{layer}.weight"].astype(np.float64)
            maps = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
            height, width = ((edge - side) // stride + 1 for edge in maps.shape[1:])
            out = np.zeros((len(kernel), height, width))
            for y in range(height):
                for x in range(width):
                    part = maps[:, y * stride : y * stride + side, x * stride : x * stride + side]
                    out[:, y, x] = (kernel * part).sum((1, 2, 3)) + weights[f"convolutions.{layer}.bias"]
            maps = np.maximum(out, 0)
        vector = weights["linear.weight"].astype(np.float64) @ maps.ravel() + weights["linear.bias"]
        made.append(vector / np.sqrt((vector**2).sum()))
    return np.array(made)


def test_the_network_is_what_its_definition_says() -> None:
    pictures = np.random.default_rng(1).normal(0, 1, (2, *INPUT[::-1])).astype(np.float32)
    weights = tensors()
    assert NumpyNet(weights)(pictures) == pytest.approx(slowly(pictures, weights), abs=1e-5)


def test_half_squares_are_exact_in_any_order() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 256))
    rows = np.rint(UNIT * rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    rows[7] = 0
    vectors = rows[[3, 9]]
    whole = half_squares(rows, vectors)
    exact = [[sum((int(a) - int(b)) ** 2 for a, b in zip(v, r, strict=True)) for r in rows] for v in vectors]
    exact = np.array(exact) / (2 * UNIT**2)
    exact[:, 7] = np.inf
    assert np.array_equal(whole, exact)
    turned = rng.permutation(50)
    assert np.array_equal(half_squares(rows[turned], vectors), whole[:, turned])
    assert whole[0, 3] == whole[1, 9] == 0


def test_the_high_pass_takes_off_the_mean() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.uniform(0, 255, (7, 5, 6)).astype(np.float32)
    assert high_pass(list(pictures), 2) == pytest.approx(pictures[2] - pictures.mean(0), abs=1e-4)
    assert not high_pass([pictures[0]] * 9, 4).any()


@pytest.mark.parametrize("framing", [IDENTITY, Framing(1.05, 1.02, 0.03, -0.02), Framing(0.96, 0.97, -0.01, 0.02)])
def test_a_framing_zooms_about_the_centre_and_shifts(framing: Framing) -> None:
    # A ramp: its value is its place, in halves of the frame from the centre.
    width, height = SMALL
    across, down = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, (np.arange(height) + 0.5) / height * 2 - 1)
    x, y = ((np.arange(n) + 0.5) / n * 2 - 1 for n in INPUT)
    found = [framed(ramp.astype(np.float32), framing) for ramp in (across, down)]
    inner = slice(6, -6)
    assert found[0][30, inner] == pytest.approx((x - framing.right)[inner] / framing.across, abs=1e-3)
    assert found[1][inner, 40] == pytest.approx((y - framing.below)[inner] / framing.down, abs=1e-3)


def test_framings_that_are_tried() -> None:
    assert ROUGH[0] == IDENTITY
    assert len(set(ROUGH)) == len(ROUGH)
    for step in STEPS:
        near = neighbours(IDENTITY, step)
        assert len(set(near)) == len(near) and IDENTITY not in near
        assert max(np.abs(np.subtract(f, IDENTITY)).max() for f in near) == pytest.approx(step)


def test_noise_is_not_blown_up() -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(5, 20, (1, *INPUT[::-1])).astype(np.float32)
    assert normalised(picture).std() == pytest.approx(1, abs=0.02)
    assert normalised(picture / 2000).std() < 0.05
    assert not normalised(np.full((1, *INPUT[::-1]), 7, np.float32)).any()


def test_blas_threads_come_back() -> None:
    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    # It knows the libraries that were there when it was first asked.
    blas._controller.cache_clear()
    before = threads()
    with blas.one_blas_thread():
        with blas.one_blas_thread():
            assert set(threads()) <= {1}
        assert set(threads()) <= {1}
    assert threads() == before
    seen = []
    for _ in range(2):
        # In threads of the frame server's, too, one after the other.
        thread = threading.Thread(target=lambda: seen.append(limited(threads)))
        thread.start()
        thread.join()
    assert all(set(counts) <= {1} for counts in seen)
    assert threads() == before


def limited(threads):
    with blas.one_blas_thread():
        return threads()


# ---------------------------------------------------------------- files


def test_the_packaged_network_is_small_and_says_what_it_is() -> None:
    assert files.FILES.own.stat().st_size <= 8 << 20
    said = files.FILES.header(files.FILES.own)
    assert said.kind == "frame"
    weights, reach = files.read_frame_net(files.FILES.own)
    assert reach == said.config["reach"] > 0
    assert {name: t.shape for name, t in weights.items()} == shapes(
        FrameSizes(*(said.config[name] for name in FrameSizes._fields))
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    files.save_frame_net(path, tensors(), SIZES, 5)
    weights, reach = files.read_frame_net(path)
    assert reach == 5
    assert all(np.array_equal(weights[name], t.astype(np.float16)) for name, t in tensors().items())
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="must end in"):
        files.save_frame_net(tmp_path / "net.bin", tensors(), SIZES, 5)


METADATA = {
    "format": files.FILES.format,
    "kind": "frame",
    "version": files.FILES.version,
    "config": json.dumps({**SIZES._asdict(), "reach": 5}),
}
WRONG = {
    "other weights": ({"format": "vs_align.flow"}, {}, "no embedding network"),
    "newer": ({"version": "2"}, {}, "version '2'.*reads version '1'"),
    "no config": ({"config": "nothing"}, {}, "does not describe"),
    "a list": ({"config": "[1]"}, {}, "does not describe"),
    "no reach": ({"config": json.dumps(SIZES._asdict())}, {}, "does not describe"),
    "vast": ({"config": json.dumps({**SIZES._asdict(), "reach": 5, "first": 10**9})}, {}, "does not describe"),
    "another kind": ({"kind": "dream"}, {}, "kind 'dream'"),
    "other shapes": ({}, {"linear.bias": np.zeros(3, np.float32)}, "does not hold the weights"),
    "more weights": ({}, {"more": np.zeros(3, np.float32)}, "does not hold the weights"),
    "not finite": ({}, {"linear.bias": np.full(7, np.nan, np.float32)}, "not finite"),
}


@pytest.mark.parametrize(("said", "weights", "message"), WRONG.values(), ids=WRONG)
def test_wrong_files_are_refused_in_one_line(
    said: dict[str, str], weights: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    save_file({**tensors(), **weights}, path, {**METADATA, **said})
    refused(path, message)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"not a network" * 100)
    refused(path, "cannot be read as a safetensors file")
    refused(tmp_path / "none.safetensors", "there is no embedding network at")
    refused(tmp_path, "there is no embedding network at")
    whole = files.FILES.own.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "cannot be read as a safetensors file")


def refused(path: Path | None, message: str) -> None:
    clip = held(drawn(moving(), 2))
    with pytest.raises(RuntimeError) as error:
        vs_align.temporal(clip, clip, similarity="embedding", model=path)
    one_line("vs_align.temporal", error, message)
    with pytest.raises(RuntimeError) as error:
        vs_align.analyse(clip, clip, similarity="embedding", model=path and str(path))
    one_line("vs_align.analyse", error, message)


def test_an_environment_variable_names_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    files.save_frame_net(path, tensors(), SIZES, 5)
    monkeypatch.setenv(files.FILES.env, str(path))
    assert open_network(None, None).reach == 5
    monkeypatch.setenv(files.FILES.env, str(tmp_path / "none"))
    with pytest.raises(ModelError, match=f"unset the environment variable {files.FILES.env}"):
        open_network(None, None)


def test_a_network_that_needs_torch_is_named_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.safetensors"
    save_file(tensors(), path, {**METADATA, "kind": files.SEQUENCE})
    monkeypatch.setitem(sys.modules, "torch", None)
    message = re.escape(f"the network {path} needs torch: install it with pip install")
    refused(path, message)
    monkeypatch.setenv(files.FILES.env, str(path))
    refused(None, message)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model": 3}, TypeError, "model must be the path of an embedding network, not int"),
        ({"weights": "x"}, ValueError, "weights is for .*leave it out"),
        ({"shortlist": 3}, ValueError, "shortlist is for .*leave it out"),
        ({"engine": "torch"}, ValueError, "engine is for .*leave it out"),
    ],
)
def test_arguments_of_no_use_are_refused(options: dict, error: type[Exception], says: str) -> None:
    clip = held(drawn(moving(), 2))
    with pytest.raises(error) as raised:
        vs_align.temporal(clip, clip, similarity="embedding", **options)
    one_line("vs_align.temporal", raised, says)


def test_the_packaged_network_tells_neighbours_apart() -> None:
    network = open_network(None, None)
    scene = moving(192, 144)
    small = [cv2.resize(255 * scene(n)[0], SMALL, interpolation=cv2.INTER_AREA).astype(np.float32) for n in range(40)]
    made = np.concatenate([network.embeddings(small[n - 12 : n + 13], 12, [IDENTITY]) for n in range(12, 28)])
    near = made @ made.T
    assert np.diag(near) == pytest.approx(np.ones(16), abs=1e-5)
    assert (near - 2 * np.eye(16)).max() < 0.99


def test_the_packaged_file_is_half_precision() -> None:
    assert {t.dtype for t in load_file(files.FILES.own).values()} == {np.dtype(np.float16)}
