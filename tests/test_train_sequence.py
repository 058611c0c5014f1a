"""The sequence objective: target and loss by definition, the network and padding, resuming, several processes."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "yaml", "tensorboard", "safetensors"):
    pytest.importorskip(needed)

from safetensors import safe_open  # noqa: E402

from vs_align.similarity.embedding import sequence_net  # noqa: E402
from vs_align.similarity.embedding.frame_norm import FrameNorm  # noqa: E402
from vs_align.similarity.embedding.sequence_net import SequenceNet, SequenceSizes  # noqa: E402
from vs_align.train import run as loop  # noqa: E402
from vs_align.train.curve import read_curve  # noqa: E402
from vs_align.train.embedding.augment import Augmentation  # noqa: E402
from vs_align.train.embedding.clips import Clips, Footage  # noqa: E402
from vs_align.train.embedding.sequence import Headed, SequenceObjective  # noqa: E402
from vs_align.train.embedding.sequence_config import SequenceConfig  # noqa: E402
from vs_align.train.embedding.sequence_loss import sequence_loss, targets  # noqa: E402
from vs_align.train.embedding.views import batched  # noqa: E402
from vs_align.train.ranks import Ranks  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]
ONE = Ranks(0, 1, torch.device("cpu"))
SIZES = {
    "backbone": "small",
    "size": 16,
    "cells": 1,
    "hidden": 16,
    "width": 8,
    "layers": 1,
    "heads": 2,
    "feedforward": 16,
    "embedding": 8,
    "length": 6,
}
TINY = SequenceConfig(
    **SIZES,
    train_backbone="all",
    projection=8,
    steps=6,
    batch=2,
    learning_rate=1e-2,
    validate_every=3,
    checkpoint_every=2,
    validation_views=1,
    workers=0,
)


class Made(Clips):
    """Clips in which a bright bar wanders; their lengths are given."""

    def __init__(self, *lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def length(self, clip):
        return self.lengths[clip]

    def frames(self, clip, numbers):
        rng = np.random.default_rng(clip)
        frames = np.repeat(rng.integers(0, 120, (1, 20, 24, 3), np.uint8), len(numbers), 0)
        for place, number in enumerate(numbers):
            frames[place, :, (clip + number) % 22 : (clip + number) % 22 + 3] = 250
        return frames

    def fingerprint(self):
        return str(self.lengths)


FOOTAGE = Footage(Made(30, 12, 4, 1), Made(25, 5))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(config, out, footage=FOOTAGE, ranks=ONE):
    return loop.train(SequenceObjective(config, lambda: footage), config, out, ranks)


def weights(path):
    return sequence_net.load(path).state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---------------------------------------------------------------- target and loss


def written_out(views, numbers, lengths, valid, variance, temperature):
    """The loss by its definition, in loops and double precision; also the targets of the first direction."""
    views = [part.double().numpy() for part in views]
    total, count, first = 0.0, 0, np.zeros((*valid[0].shape, valid[1].shape[1]))
    for near, far in ((0, 1), (1, 0)):
        for b in range(len(valid[0])):
            for i in range(valid[near].shape[1]):
                wanted, said = [], []
                for j in range(valid[far].shape[1]):
                    if not valid[far][b, j]:
                        wanted.append(0.0), said.append(0.0)
                        continue
                    ratio = float(lengths[far][b]) / float(lengths[near][b])
                    d = abs(float(numbers[near][b, i]) * ratio - float(numbers[far][b, j]))
                    wanted.append(math.exp(-d * d / (2 * variance)))
                    said.append(math.exp(float(views[near][b, i] @ views[far][b, j]) / temperature))
                q, p = np.array(wanted) / sum(wanted), np.array(said) / sum(said)
                if near == 0:
                    first[b, i] = q
                if valid[near][b, i]:
                    total += sum(a * math.log(a / c) for a, c in zip(q, p, strict=True) if a > 0)
                    count += 1
    return total / count, first


def drawn(generator, batch=3, one=7, other=5, width=4, dtype=torch.float64):
    """Two views with padding: embeddings, numbers, lengths, valid."""
    views = tuple(
        torch.nn.functional.normalize(torch.randn(batch, n, width, generator=generator, dtype=dtype), dim=2)
        for n in (one, other)
    )
    numbers = tuple(torch.randint(0, 20, (batch, n), generator=generator).sort(1).values.double() for n in (one, other))
    lengths = tuple(torch.randint(20, 40, (batch,), generator=generator).double() for _ in range(2))
    valid = tuple(torch.arange(n)[None] < torch.tensor([n, n - 2, 1])[:, None] for n in (one, other))
    return views, numbers, lengths, valid


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_target_and_loss_are_what_their_definitions_say(seed):
    views, numbers, lengths, valid = drawn(torch.Generator().manual_seed(seed))
    wanted, rows = written_out(views, numbers, lengths, valid, 10.0, 0.1)
    found = targets(*numbers, *lengths, valid[1])
    assert found.numpy() == pytest.approx(rows, abs=1e-12)
    assert found.sum(2).numpy() == pytest.approx(1)
    assert float(sequence_loss(views, numbers, lengths, valid)) == pytest.approx(wanted, rel=1e-12)
    single = tuple(part.float() for part in views), tuple(n.float() for n in numbers), tuple(n.float() for n in lengths)
    assert float(sequence_loss(*single, valid)) == pytest.approx(wanted, rel=1e-5)


def test_the_gradient_of_the_loss():
    views, numbers, lengths, valid = drawn(torch.Generator().manual_seed(4))
    given = tuple(part.clone().requires_grad_() for part in views)
    assert torch.autograd.gradcheck(lambda a, b: sequence_loss((a, b), numbers, lengths, valid), given)


def test_a_target_far_from_all_frames_is_the_nearest_one():
    found = targets(
        torch.tensor([[1e5]]), torch.tensor([[0.0, 5.0]]), torch.ones(1), torch.ones(1), torch.ones(1, 2) > 0
    )
    assert found.tolist() == [[[0.0, 1.0]]]


def test_the_loss_is_nothing_where_the_prediction_is_the_target():
    # Two moments so far apart that each frame's target is its own twin, and embeddings that are opposite.
    views = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]).double()
    numbers, lengths = torch.tensor([[0.0, 500.0]]), torch.tensor([1000.0])
    valid = torch.ones(1, 2) > 0
    value = sequence_loss((views, views), (numbers, numbers), (lengths, lengths), (valid, valid), temperature=0.01)
    assert 0 <= float(value) < 1e-12


# ---------------------------------------------------------------- the network


def test_frame_norm_is_batch_norm():
    values = torch.randn(50, 6, generator=torch.Generator().manual_seed(1)) * 3 + 2
    ours, theirs = FrameNorm(6), torch.nn.BatchNorm1d(6)
    for _ in range(3):
        assert torch.allclose(ours(values), theirs(values), atol=1e-5)
    assert torch.allclose(ours.mean, theirs.running_mean, atol=1e-5)
    assert torch.allclose(ours.variance, theirs.running_var, atol=1e-5)
    assert torch.allclose(ours.eval()(values), theirs.eval()(values), atol=1e-5)


@pytest.mark.parametrize(("training", "centred"), [(True, False), (True, True), (False, True)])
def test_what_stands_in_padding_changes_nothing(training, centred):
    torch.manual_seed(3)
    net = Headed(SequenceNet(SequenceSizes(**SIZES, dropout=0.0, centred=centred), trained="all"), 8).train(training)
    frames = torch.randint(0, 256, (3, 6, 3, 16, 16)).float()
    valid = torch.arange(6)[None] < torch.tensor([6, 3, 1])[:, None]
    state = {name: part.clone() for name, part in net.state_dict().items()}
    made = []
    for filling in (0.0, 255.0, float("nan")):
        net.load_state_dict(state)
        net.zero_grad()
        padded = torch.where(valid[:, :, None, None, None], frames, filling)
        found = net(padded, valid)
        (found * torch.arange(8)).sum().backward()
        made.append((found.detach(), [part.grad.clone() for part in net.parameters()], net.state_dict()))
    for found, gradients, _ in made[1:]:
        assert torch.equal(found, made[0][0])
        assert all(torch.equal(one, other) for one, other in zip(gradients, made[0][1], strict=True))
    assert bool((made[0][0][~valid] == 0).all())
    # The frames of a sequence do not depend on how far its batch is padded.
    net.load_state_dict(state)
    with torch.no_grad():
        alone = net.eval()(frames[1:2, :3], valid[1:2, :3])
        padded = net(frames[1:2], valid[1:2])
    assert torch.allclose(alone, padded[:, :3], atol=1e-6)


def test_embeddings_have_unit_length_and_know_their_neighbours():
    torch.manual_seed(1)
    net = SequenceNet(SequenceSizes(**SIZES), trained="all").eval()
    frames = torch.randint(0, 256, (1, 6, 3, 16, 16), dtype=torch.uint8)
    valid = torch.ones(1, 6) > 0
    with torch.no_grad():
        made = net(frames, valid)
        changed = frames.clone()
        changed[0, 5] = 0
        other = net(changed, valid)
    assert made.norm(dim=2).numpy() == pytest.approx(1, abs=1e-5)
    assert not torch.equal(made[0, 0], other[0, 0])
    alone = SequenceNet(SequenceSizes(**{**SIZES, "layers": 0}), trained="all").eval()
    with torch.no_grad():
        assert torch.equal(alone(frames, valid)[0, 0], alone(changed, valid)[0, 0])
    assert (net.context, alone.context) == (3, 0)


def test_a_saved_network_comes_back(tmp_path):
    torch.manual_seed(1)
    net = SequenceNet(SequenceSizes(**SIZES), trained="all").eval()
    sequence_net.save(tmp_path / "net.safetensors", net)
    again = sequence_net.load(tmp_path / "net.safetensors")
    assert again.sizes == net.sizes
    assert same(again.state_dict(), net.state_dict())


def test_a_file_says_how_it_was_trained_and_not_where(tmp_path):
    config = replace(TINY, backbone_weights="at/home/resnet.pth")
    objective = SequenceObjective(config, lambda: FOOTAGE)
    net = Headed(SequenceNet(SequenceSizes(**SIZES), trained="all"), 4)
    objective.save(net, tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
        told = json.loads(file.metadata()["training"])
    assert told["steps"] == config.steps and told["backbone_weights"] == "resnet.pth"


# ---------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("uncut")
    path = run(TINY, out)
    return weights(path), read_curve(out)


def test_a_run_leaves_weights_and_a_curve(uncut):
    found, curve = uncut
    assert all(bool(part.isfinite().all()) for part in found.values())
    steps = [(step, name) for step, name, _ in curve]
    assert steps == [
        (0, "frame_error"),
        (0, "tau"),
        (3, "frame_error"),
        (3, "tau"),
        (6, "loss"),
        (6, "frame_error"),
        (6, "tau"),
    ]


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_run_that_was_cut_off_ends_where_an_uncut_one_does(uncut, tmp_path, monkeypatch, cut):
    loss, asked = SequenceObjective.loss, []

    def until(self, *arguments):
        asked.append(1)
        if len(asked) > cut:
            raise KeyboardInterrupt
        return loss(self, *arguments)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(SequenceObjective, "loss", until)
        run(TINY, tmp_path)
    torch.manual_seed(cut)
    assert same(weights(run(TINY, tmp_path)), uncut[0])
    assert read_curve(tmp_path) == uncut[1]


def test_dropout_draws_the_same_again(uncut, tmp_path):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert same(weights(run(TINY, tmp_path)), uncut[0])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not same(weights(run(replace(TINY, dropout=0.0), tmp_path / "other")), uncut[0])


def test_clips_shorter_than_a_view_are_padded(tmp_path):
    short = Footage(Made(2, 1, 3), Made(2))
    found = weights(run(replace(TINY, steps=2), tmp_path, short))
    assert all(bool(part.isfinite().all()) for part in found.values())


def test_training_tells_moments_apart(tmp_path):
    """A bar that wanders is learned in a few steps, on clips that were not seen."""
    config = replace(TINY, steps=60, batch=4, layers=0, validate_every=60, validation_views=4, length=12, dropout=0.0)
    easy = replace(config, augmentation=Augmentation(crop=1, flip=0, jitter=0, blur=0, grey=0), cells=2)
    run(easy, tmp_path, Footage(Made(*[20] * 8), Made(20, 20)))
    errors = {step: value for step, name, value in read_curve(tmp_path) if name == "frame_error"}
    assert errors[60] < 0.5 * errors[0] or errors[60] < 1


# ---------------------------------------------------------------- processes


TWO_RANKS = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {root!r})
sys.path.insert(0, {tests!r})
import test_train_sequence as here
from vs_align.train.ranks import ranks
torch.set_num_threads(1)
with ranks("cpu") as own:
    gradients = here.gradients(own)
    if own.first:
        torch.save(gradients, {out!r})
# A group whose threads live on aborts the interpreter at its end, now and again.
left = [name.read_text() for name in Path("/proc/self/task").glob("*/comm")]
assert not any("gloo" in name for name in left), left
"""


def gradients(own):
    """Return the gradients of one step on this process's share of four samples, as DDP has them, and the statistics."""
    config = replace(TINY, dropout=0.0, batch=4)
    objective = SequenceObjective(config, lambda: FOOTAGE)
    torch.manual_seed(1)
    net = objective.network().train()
    shared = own.share(net)
    share = 4 // own.count
    with objective.data(0) as samples:
        batch = batched([samples[n] for n in range(own.place * share, (own.place + 1) * share)])
    value, _ = objective.loss(shared, batch, own)
    value.backward()
    found = {name: part.grad for name, part in net.named_parameters()}
    return {**found, **{name: part.clone() for name, part in net.named_buffers()}}


def test_two_processes_have_the_gradients_of_one(tmp_path):
    alone = gradients(ONE)
    script = tmp_path / "two.py"
    out = tmp_path / "two.pt"
    script.write_text(TWO_RANKS.format(root=str(ROOT), tests=str(ROOT / "tests"), out=str(out)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    together = torch.load(out, weights_only=True)
    assert together.keys() == alone.keys()
    largest = max(float(part.abs().max()) for part in alone.values())
    assert largest > 1e-3
    for name, part in alone.items():
        assert float((part - together[name]).abs().max()) < 1e-5 * max(1.0, largest), name
