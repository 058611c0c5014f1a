"""`vs-align train embedding` and `vs-align evaluate`: what cannot be is one line, and what can be runs through."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "yaml", "tensorboard", "safetensors", "sklearn"):
    pytest.importorskip(needed)

from safetensors.torch import save_file  # noqa: E402

from vs_align import cli  # noqa: E402
from vs_align.models import ModelError  # noqa: E402
from vs_align.similarity.embedding import backbones, files, sequence_net  # noqa: E402
from vs_align.similarity.embedding.sequence_net import SequenceNet, SequenceSizes  # noqa: E402
from vs_align.train.configs import ConfigError, from_dict, read  # noqa: E402
from vs_align.train.embedding.entry import CONFIGS  # noqa: E402
from vs_align.train.embedding.sequence_config import SequenceConfig  # noqa: E402

pytestmark = pytest.mark.torch

KEYS = """objective: sequence
steps: 2
batch: 2
learning_rate: 0.001
workers: 0
backbone: small
train_backbone: all
size: 16
hidden: 8
width: 8
layers: 1
heads: 2
feedforward: 8
embedding: 8
projection: 8
length: 4
validate_every: 2
checkpoint_every: 1
validation_views: 1
held_out: [late]
"""
SIZES = SequenceSizes(
    backbone="small", size=16, hidden=8, width=8, layers=1, heads=2, feedforward=8, embedding=8, length=4
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def film(path: Path, frames: int, seed: int) -> None:
    """Write a film of rising brightness."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    ground = np.random.default_rng(seed).integers(0, 150, (32, 48, 3), np.uint8)
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx264", rate=25, options={"qp": "10"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for n in range(frames):
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(ground + np.uint8(10 * n), "rgb24")))
        sink.mux(stream.encode(None))


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for seed, (name, frames) in enumerate((("one.mp4", 9), ("two.mp4", 3), ("late/three.mp4", 8))):
        film(folder / name, frames, seed)
    (folder / "broken.mp4").write_bytes(b"no film")
    return folder


def refused(capsys, *arguments) -> str:
    """Run a command, which is to fail with one line; return it."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("vs-align")]
    return line


def config(folder: Path, more: str = "", text: str = KEYS) -> Path:
    path = folder / "run.yaml"
    path.write_text(text + more)
    return path


def train(folder: Path, films: Path, *more) -> list[str]:
    return ["train", "embedding", str(config(folder)), "--footage", str(films), "--out", str(folder / "run"), *more]


def test_from_films_to_figures(films, tmp_path, capsys):
    assert cli.main(train(tmp_path, films)) == 0
    captured = capsys.readouterr()
    path = tmp_path / "run" / "embedding.safetensors"
    assert captured.out == f"{path}\n"
    assert "broken.mp4 cannot be read" in captured.err
    assert "2 videos to train on, 1 for validation" in captured.err
    # The same command again has nothing left to do, and says so.
    assert cli.main(train(tmp_path, films)) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{path}\n" and "was done before" in captured.err
    assert cli.main(["evaluate", str(path), str(films), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"frame error between made views, mean", "Kendall's tau"}
    # Weights to begin with are taken.
    begun = train(tmp_path, films, "--begin", str(path))
    begun[begun.index("--out") + 1] = str(tmp_path / "second")
    assert cli.main(begun) == 0


def test_figures_of_phases(tmp_path, capsys):
    from vs_align.train.datasets import pouring
    from vs_align.train.datasets.table import Table

    folders = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        film(folder / "a.mp4", 6, seed)
        folders.append(folder / "a.mp4")
    rows = Table.of((path.parent.name, [path], [6], [(0, 0, 1, 1, 2, 2)]) for path in folders)
    net = tmp_path / "net.safetensors"
    sequence_net.save(net, SequenceNet(SIZES, trained="all"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pouring, "load", lambda root, split: rows)
        assert cli.main(["evaluate", str(net), str(tmp_path), "--dataset", "pouring"]) == 0
    out = capsys.readouterr().out
    for name in ("10 % of the labels", "50 % of", "100 % of", "R^2", "Kendall's tau", "AP@5", "AP@10", "AP@15"):
        assert name in out


def test_what_cannot_be_trained_is_one_line(films, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Where runs without --out are.
    assert "give a folder of videos" in refused(capsys, *train(tmp_path, tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "holds no videos" in refused(capsys, *train(tmp_path, tmp_path / "empty"))
    assert "nothing to train on: give --footage" in refused(capsys, "train", "embedding", config(tmp_path))
    every = config(tmp_path, text=KEYS.replace("late", ".mp4"))
    assert "correct held_out" in refused(capsys, "train", "embedding", every, "--footage", films)
    assert "no configuration huge" in refused(capsys, "train", "embedding", "huge", "--footage", films)
    taken = ("train", "embedding", config(tmp_path), "--footage", films, "--out", config(tmp_path))
    assert "run.yaml is not a folder: give another --out" in refused(capsys, *taken)
    other = config(tmp_path, text=KEYS.replace("sequence", "guess"))
    assert "objective must be one of sequence, matching, not 'guess'" in refused(capsys, "train", "embedding", other)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "needs CUDA, which torch does not find" in refused(capsys, *train(tmp_path, films, "--device", "cuda"))
    assert "KIND" in refused(capsys, "train", "everything", "small")


def test_weights_that_do_not_fit_are_one_line(films, tmp_path, capsys):
    given = tmp_path / "given.safetensors"
    begin = train(tmp_path, films, "--begin", given)
    assert f"there is no embedding network at {given}" in refused(capsys, *begin)
    given.write_bytes(b"no weights")
    assert "cannot be read as a safetensors file" in refused(capsys, *begin)
    save_file({"x": torch.zeros(1)}, given, {"format": "something"})
    assert "is no embedding network" in refused(capsys, *begin)
    sequence_net.save(given, SequenceNet(SequenceSizes(**{**_plain(SIZES), "hidden": 9}), trained="all"))
    assert "a network of other sizes" in refused(capsys, *begin)
    assert cli.main(train(tmp_path, films)) == 0
    capsys.readouterr()
    changed = config(tmp_path, text=KEYS.replace("hidden: 8", "hidden: 9"))
    run = ("train", "embedding", changed, "--footage", films, "--out", tmp_path / "run")
    assert "is of a run with another hidden (8, now 9)" in refused(capsys, *run)


def _plain(sizes: SequenceSizes) -> dict:
    return {name: getattr(sizes, name) for name in SequenceSizes.__slots__}


def test_what_cannot_be_evaluated_is_one_line(films, tmp_path, capsys):
    net = tmp_path / "net.safetensors"
    assert f"there is no file {net}" in refused(capsys, "evaluate", net, films)
    sequence_net.save(net, SequenceNet(SIZES, trained="all"))
    assert "there is no data set 'ucf'" in refused(capsys, "evaluate", net, films, "--dataset", "ucf")
    assert "no file pouring_val*" in refused(capsys, "evaluate", net, films, "--dataset", "pouring")
    tensors = dict(SequenceNet(SIZES, trained="all").state_dict())
    head = {
        "format": files.FILES.format,
        "kind": files.SEQUENCE,
        "version": files.FILES.version,
        "config": json.dumps(_plain(SIZES)),
    }
    for changed, says in (
        ({"version": "99"}, "is of version '99'"),
        ({"kind": "frame"}, "holds other weights than a sequence network's"),
        ({"config": "{"}, "does not describe a network"),
        ({"config": '{"wings": 2}'}, "does not describe a network"),
        ({"config": json.dumps({**_plain(SIZES), "embedding": 9})}, "does not hold the weights of the network"),
    ):
        save_file(tensors, net, {**head, **changed})
        assert says in refused(capsys, "evaluate", net, films)
    save_file({**tensors, "leave.bias": tensors["leave.bias"] * torch.nan}, net, head)
    assert "weights that are not finite" in refused(capsys, "evaluate", net, films)


@pytest.mark.parametrize("name", ["small", "carl", "pouring"])
def test_the_configurations_of_the_package_are_read(name):
    found = read(SequenceConfig, name, CONFIGS)
    assert found.length == {"small": 80, "carl": 80, "pouring": 240}[name]
    assert found.sizes.embedding == 128


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"temprature": 1}, "unknown key temprature; there are seed"),
        ({"augmentation": {"crpo": 1}}, "augmentation: unknown key crpo; there are crop"),
        ({"augmentation": 1}, "augmentation must hold keys and values"),
        ({"backbone_weights": ""}, "would freeze random weights"),
        ({"backbone": "small"}, "backbone_weights are for timm's networks"),
        ({"width": 100}, "width must be even and a multiple of heads"),
        ({"dataset": "pouring", "held_out": ["a"]}, "held_out and unused are for a plain folder"),
        ({"dataset": "ucf"}, "dataset must be one of folder, pouring"),
        ({"held_out": [""]}, "must not be empty"),
        ({"warm_up": 1000}, "warm_up must be below steps"),
        ({"stretch": 0.5}, "stretch must be from 1 to 100, not 0.5"),
        ({"overlap": float("nan")}, "overlap must be from 0 to 1, not nan"),
        ({"train_backbone": "first"}, "train_backbone must be one of last, all, none"),
        ({"train_backbone": 1}, "train_backbone must be a word"),
        ({"cache": "yes"}, "cache must be true or false"),
        ({"learning_rate": "1e-4"}, "YAML wants a point"),
        ({"temperature": 0.0}, "temperature must be 0.0001 or more"),
        ({"temperature": float("nan")}, "temperature must be a finite number, not nan"),
        ({"variance": float("inf")}, "variance must be a finite number, not inf"),
        ({"gradient_clip": 10**400}, "gradient_clip must be a finite number"),
        ({"seed": 1 << 40}, "seed must be from 0 to 4294967295"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_one_line(values, says):
    with pytest.raises(ConfigError, match=says) as error:
        from_dict(SequenceConfig, {"backbone_weights": "a.pth", **values}, "run.yaml")
    assert str(error.value).startswith("run.yaml: ")
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- backbones


def test_a_small_backbone_of_which_the_last_stage_learns():
    net = backbones.Backbone("small", size=16, trained="last").train()
    learning = {name for name, part in net.named_parameters() if part.requires_grad}
    assert learning and all(name.startswith("net.blocks.3.") for name in learning)
    assert net(torch.zeros(0, 3, 16, 16)).shape == (0, net.width)
    chunks = backbones.Backbone("small", size=16, trained="all", chunk=2).eval()
    chunks.load_state_dict(net.state_dict())
    frames = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    assert torch.allclose(chunks(frames), net.eval()(frames), atol=1e-6)


def test_backbones_of_timm(tmp_path):
    """ResNet-18 in the place of ResNet-50, of the same layout: weights by path, frozen up to layer3, 7 x 7 maps."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(1)
    given = timm.create_model("resnet18", pretrained=False).state_dict()
    # As a trainer keeps it: wrapped, with heads beside it, and with ImageNet's classifier.
    torch.save(
        {"state_dict": {f"backbone.{k}": v for k, v in given.items()} | {"head.x": torch.zeros(1)}}, tmp_path / "w.pth"
    )
    net = backbones.make_backbone("resnet18", tmp_path / "w.pth", trained="last").train()
    assert net.width == 512
    assert all(torch.equal(part, given[name]) for name, part in net.net.state_dict().items())
    assert {name.split(".")[1] for name, part in net.named_parameters() if part.requires_grad} == {"layer4"}
    before = {name: part.clone() for name, part in net.named_buffers()}
    net(torch.rand(2, 3, 64, 64) * 255)
    moved = {name.split(".")[1] for name, part in net.named_buffers() if not torch.equal(part, before[name])}
    # Batch norms of frozen stages stand still.
    assert moved == {"layer4"}
    with pytest.raises(ModelError, match="timm has no backbone 'resnet5O'"):
        backbones.make_backbone("resnet5O")
    with pytest.raises(ModelError, match="there is no weights file at"):
        backbones.make_backbone("resnet18", tmp_path / "none.pth")
    with pytest.raises(ModelError, match="holds weights of another network than 'resnet34'"):
        backbones.make_backbone("resnet34", tmp_path / "w.pth")


@pytest.mark.slow
def test_the_published_network():
    pytest.importorskip("timm")
    net = SequenceNet(SequenceSizes(), trained="last")
    assert net.backbone.width == 2048
    frames = torch.randint(0, 256, (1, 3, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        made = net.eval()(frames, torch.tensor([[True, True, False]]))
    assert made.shape == (1, 3, 128)
    assert made.norm(dim=2)[0].tolist() == pytest.approx([1, 1, 0], abs=1e-5)
