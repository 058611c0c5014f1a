"""Training of the alignment network: the loss, runs that repeat and resume, several processes, the command."""

import csv
import io
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "yaml", "tensorboard", "safetensors"):
    pytest.importorskip(needed)
import torch.nn.functional as F  # noqa: E402, N812

from vs_align import cli  # noqa: E402
from vs_align.flow.network import model  # noqa: E402
from vs_align.flow.network.weights import load_weights  # noqa: E402
from vs_align.train import run as loop  # noqa: E402
from vs_align.train.checkpoint import CheckpointError  # noqa: E402
from vs_align.train.curve import Curve, read_curve  # noqa: E402
from vs_align.train.faults import TrainingError  # noqa: E402
from vs_align.train.flow import trainer  # noqa: E402
from vs_align.train.flow.config import ConfigError, FlowConfig, NetConfig  # noqa: E402
from vs_align.train.flow.data import Pairs  # noqa: E402
from vs_align.train.flow.loss import cell_errors, loss  # noqa: E402
from vs_align.train.flow.sources import Bank, Banks  # noqa: E402
from vs_align.train.flow.trainer import FlowObjective, train  # noqa: E402
from vs_align.train.flow.validation import Validation  # noqa: E402
from vs_align.train.ranks import Ranks  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]
ONE = Ranks(0, 1, torch.device("cpu"))
NET = NetConfig(features=8, memory=4, width=12, reach=2, updates=(1, 1, 1, 1))
TINY = FlowConfig(
    steps=6,
    batch=2,
    size=64,
    painted=1.0,
    photographs=False,
    workers=0,
    validate_every=3,
    validation_pairs=2,
    checkpoint_every=2,
    learning_rate=1e-3,
    judge_steps=0,
    net=NET,
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


PAINTED = Banks(Bank((), 1.0), Bank((), 1.0))


def Run(config, out, ranks, pictures=PAINTED):
    """The network's run, where it stands."""
    return loop.Run(FlowObjective(config, lambda: pictures), config, out, ranks)


class Pulled(Exception):
    """The plug."""


def cut_off_after(steps, monkeypatch):
    """Let the next run end in the middle of things, once so many steps are done."""
    improved = loop.Run._improved

    def until(self, sample):
        if self.step == steps:
            raise Pulled
        return improved(self, sample)

    monkeypatch.setattr(loop.Run, "_improved", until)


def weights(path):
    return {name: tensor.clone() for name, tensor in load_weights(path).state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---------------------------------------------------------------- loss


def written_out(steps, flow, seen):
    """The loss by its definition, in loops and double precision."""
    flow, seen = flow.double().numpy(), seen.double().numpy()
    total = weights = 0.0
    for place, step in enumerate(steps):
        found, spread = (part.double().numpy() for part in step)
        batch, _, height, width = found.shape
        cell = flow.shape[3] // width
        values = []
        for b in range(batch):
            for y in range(height):
                for x in range(width):
                    part = np.s_[y * cell : (y + 1) * cell, x * cell : (x + 1) * cell]
                    if seen[b, 0][part].min() < 1:
                        continue
                    d_x, d_y = (found[b, k, y, x] - flow[b, k][part].mean() for k in range(2))
                    error = math.sqrt(d_x * d_x + d_y * d_y + 1e-6)
                    expected = spread[b, 0, y, x]
                    values.append(math.sqrt(error / cell + 0.01) + 0.05 * (error / expected + math.log(expected)))
        weight = 0.8 ** (len(steps) - 1 - place)
        total += weight * sum(values) / max(len(values), 1)
        weights += weight
    return total / weights


def steps_for(generator, batch=2, size=64):
    """Estimates on grids of 32, 16 and 8 px, and the truth."""
    steps = []
    for cell in (32, 16, 16, 8):
        shape = (batch, 1, size // cell, size // cell)
        spread = 0.1 + 5 * torch.rand(shape, generator=generator)
        steps.append((torch.cat([torch.randn(shape, generator=generator) * 4 for _ in range(2)], 1), spread))
    flow = torch.randn(batch, 2, size, size, generator=generator) * 3
    seen = torch.ones(batch, 1, size, size)
    seen[0, :, :, 40:] = 0
    seen[1, :, 3:5, 3:5] = 0
    return steps, flow, seen


def test_the_loss_is_what_its_definition_says():
    steps, flow, seen = steps_for(torch.Generator().manual_seed(1))
    assert float(loss(steps, flow, seen)) == pytest.approx(written_out(steps, flow, seen), rel=1e-5)


def test_the_loss_of_pairs_that_show_nothing_in_common_is_nothing():
    steps, flow, seen = steps_for(torch.Generator().manual_seed(1))
    assert float(loss(steps, flow, 0 * seen)) == 0


def test_what_is_foretold_pulls_the_spread_and_not_the_flow():
    flow, seen = torch.zeros(1, 2, 64, 64), torch.ones(1, 1, 64, 64)
    pulls = []
    for foretold in (0.1, 2.0, 5.0):  # the error is 2.83
        found = torch.full((1, 2, 8, 8), 2.0, requires_grad=True)
        spread = torch.full((1, 1, 8, 8), foretold, requires_grad=True)
        loss([(found, spread)], flow, seen).backward()
        assert bool((found.grad > 0).all())
        assert bool(((spread.grad < 0) == (foretold < 2.83)).all())
        pulls.append(found.grad)
    assert torch.allclose(pulls[0], pulls[1]) and torch.allclose(pulls[0], pulls[2])


def test_shared_among_processes_the_loss_is_that_of_the_whole_batch():
    steps, flow, seen = steps_for(torch.Generator().manual_seed(2))
    halves = [([(f[k : k + 1], s[k : k + 1]) for f, s in steps], flow[k : k + 1], seen[k : k + 1]) for k in range(2)]
    counts = {cell: float((F.avg_pool2d(seen, cell) > 0.9999).sum()) / 2 for cell in (32, 16, 8)}

    def averaged(count):
        # Each process's own count is asked for once for each grid, coarse first.
        return torch.tensor(counts[next(grids)])

    parts = []
    for half in halves:
        grids = iter((32, 16, 8))
        parts.append(float(loss(*half, averaged)))
    assert sum(parts) / 2 == pytest.approx(float(loss(steps, flow, seen)), rel=1e-6)


def test_errors_are_lengths_on_cells_that_count():
    flow, seen = torch.zeros(1, 2, 32, 32), torch.ones(1, 1, 32, 32)
    flow[:, 0] = 3
    seen[..., 0] = 0
    errors = cell_errors(torch.tensor([0.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4), flow, seen)
    assert errors.shape == (12,)
    assert errors.numpy() == pytest.approx(5)


@pytest.mark.parametrize("shape", [(2, 3, 9, 12), (1, 1, 5, 5), (1, 2, 1, 7), (1, 2, 6, 1)])
def test_sampling_by_gathering_is_grid_sample_with_its_gradients(shape):
    generator = torch.Generator().manual_seed(3)
    picture = torch.randn(shape, generator=generator, dtype=torch.float64).float().requires_grad_()
    batch, _, height, width = shape
    flow = (torch.randn(batch, 2, height, width, generator=generator) * 4).requires_grad_()
    upstream = torch.randn(shape, generator=generator)
    across = flow[:, 0] + torch.arange(width)
    down = flow[:, 1] + torch.arange(height)[:, None]
    wanted, found = model._warped(picture, flow), model._gathered(picture, across, down)
    assert torch.allclose(found, wanted, atol=1e-5)
    one, other = (torch.autograd.grad(x, (picture, flow), upstream, retain_graph=True) for x in (wanted, found))
    assert torch.allclose(one[0], other[0], atol=1e-5)
    # At a border one of them counts the slope of both sides, the other of one.
    inside = ((across > 0) & (across < width - 1) & (down > 0) & (down < height - 1))[:, None].expand_as(flow)
    assert torch.allclose(one[1][inside], other[1][inside], atol=1e-4)


# ---------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """A run of six steps."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("uncut")
    path = train(TINY, None, out, ONE)
    return weights(path), read_curve(out)


def test_a_run_leaves_what_it_says(uncut, tmp_path):
    path = train(replace(TINY, steps=2), None, tmp_path, ONE)
    assert path == tmp_path / "flow.safetensors"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["board", "checkpoint.pt", "curve.csv", "flow.safetensors"]
    assert load_weights(path).config == {**{k: getattr(NET, k) for k in NET.__slots__}, "updates": [1, 1, 1, 1]}
    _, curve = uncut
    assert [(step, name) for step, name, _ in curve] == [
        *((3, name) for name in ("mean_px", "median_px", "pair_px")),
        *((6, name) for name in ("loss", "mean_px", "median_px", "pair_px")),
    ]
    assert all(math.isfinite(value) for _, _, value in curve)


def test_a_run_can_begin_with_weights_that_are_there(uncut, tmp_path):
    """With a learning rate of next to nothing it ends with them; the number of updates may differ."""
    path = train(TINY, None, tmp_path / "first", ONE)
    still = replace(TINY, steps=1, learning_rate=1e-12, net=replace(NET, updates=(1, 1, 1, 2)))
    again = weights(train(still, None, tmp_path / "second", ONE, begin=path))
    assert all(torch.allclose(again[name], part, atol=1e-9) for name, part in weights(path).items())
    assert not same(again, weights(train(still, None, tmp_path / "third", ONE)))


@pytest.mark.parametrize("workers", [0, 1])
def test_two_runs_with_one_seed_are_the_same(uncut, tmp_path, workers):
    # What came before in the process is of no account.
    torch.manual_seed(99)
    path = train(replace(TINY, workers=workers), None, tmp_path, ONE)
    assert same(weights(path), uncut[0])
    assert read_curve(tmp_path) == uncut[1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_is_not_repeatable_is_refused_while_training(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(trainer, "loss", lambda *_: seen.append(torch.are_deterministic_algorithms_enabled()))
    with pytest.raises(AttributeError):
        train(TINY, None, tmp_path, ONE)
    assert seen == [True]
    assert not torch.are_deterministic_algorithms_enabled()


def test_another_seed_gives_another_run(uncut, tmp_path):
    assert not same(weights(train(replace(TINY, seed=2), None, tmp_path, ONE)), uncut[0])


@pytest.mark.parametrize("cut", [1, 3, 4, 5])
def test_a_run_that_was_cut_off_ends_where_an_uncut_one_does(uncut, tmp_path, monkeypatch, cut):
    with monkeypatch.context() as patched, pytest.raises(Pulled):
        cut_off_after(cut, patched)
        train(TINY, None, tmp_path, ONE)
    assert Run(TINY, tmp_path, ONE).step == cut // 2 * 2
    assert same(weights(train(TINY, None, tmp_path, ONE)), uncut[0])
    assert read_curve(tmp_path) == uncut[1]


def test_a_run_cut_off_in_half_precision_resumes(tmp_path, monkeypatch):
    config = replace(TINY, mixed_precision=True)
    wanted = weights(train(config, None, tmp_path / "uncut", ONE))
    with monkeypatch.context() as patched, pytest.raises(Pulled):
        cut_off_after(3, patched)
        train(config, None, tmp_path / "cut", ONE)
    assert same(weights(train(config, None, tmp_path / "cut", ONE)), wanted)


def test_schedule_and_scaler_come_back(tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(Pulled):
        cut_off_after(4, patched)
        train(TINY, None, tmp_path, ONE)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == state["state"]["schedule"]["last_epoch"] == 4
    state["state"]["scaler"] = {
        "scale": 64.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 100,
        "_growth_tracker": 7,
    }
    torch.save(state, tmp_path / "checkpoint.pt")
    # The scaler works on CUDA alone; an enabled one takes its state anywhere.
    with monkeypatch.context() as patched:
        patched.setattr(torch.amp, "GradScaler", lambda kind, enabled: _Scaler())
        run = Run(TINY, tmp_path, ONE)
    assert run._scaler.state == state["state"]["scaler"]
    assert run._schedule.last_epoch == 4
    assert run._optimizer.param_groups[0]["lr"] == state["state"]["optimizer"]["param_groups"][0]["lr"]


class _Scaler:
    def load_state_dict(self, state):
        self.state = state


def test_what_no_number_depends_on_may_change_when_a_run_goes_on(uncut, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(Pulled):
        cut_off_after(3, patched)
        train(TINY, None, tmp_path, ONE)
    again = replace(TINY, checkpoint_every=5, workers=1)
    assert same(weights(train(again, None, tmp_path, ONE)), uncut[0])


def test_a_finished_run_is_not_trained_again(uncut, tmp_path, monkeypatch):
    train(TINY, None, tmp_path, ONE)
    monkeypatch.setattr(loop.Run, "go_on", None)
    assert same(weights(train(TINY, None, tmp_path, ONE)), uncut[0])


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 21, 40])
def test_the_learning_rate_rises_and_falls_however_short_the_run_is(tmp_path, steps):
    run = Run(replace(TINY, steps=steps), tmp_path, ONE)
    rates = []
    for _ in range(steps):
        rates.append(run._optimizer.param_groups[0]["lr"])
        run._optimizer.step()
        run._schedule.step()
    assert all(0 < rate <= 1e-3 * (1 + 1e-6) for rate in rates)
    if steps > 18:
        assert max(rates) > 0.9e-3
        assert rates[-1] < 0.1e-3


def test_training_lowers_the_error(tmp_path):
    config = replace(TINY, steps=60, batch=4, looks=(), validate_every=60, validation_pairs=12, learning_rate=3e-3)
    bank = Bank((), 1.0)
    run = Run(config, tmp_path, ONE)
    check = Validation(Pairs(bank, 64, 977, (), 1.0), 12)
    before = check.errors(lambda ref, clip: run.net(ref, clip).flow, ONE.device)
    run.go_on()
    after = check.errors(lambda ref, clip: run.net(ref, clip).flow, ONE.device)
    assert after["mean_px"] < 0.8 * before["mean_px"]


def test_validation_is_the_mean_over_pairs():
    pairs = Pairs(Bank((), 1.0), 64, 977, (), 1.0)

    class Still(torch.nn.Module):
        def forward(self, ref, clip):
            return SimpleNamespace(flow=torch.zeros(1, 2, 8, 8))

    still = Still()
    errors = Validation(pairs, 5).errors(lambda ref, clip: still(ref, clip).flow, torch.device("cpu"))
    means, every = [], []
    for n in range(5):
        length = pairs[n]["flow"].double().numpy().reshape(2, 8, 8, 8, 8).mean((2, 4))
        counts = pairs[n]["seen"].numpy().reshape(8, 8, 8, 8).min((1, 3)) > 0
        lengths = np.hypot(*length)[counts]
        every += lengths.tolist()
        means.append(lengths.mean())
    assert errors["mean_px"] == pytest.approx(np.mean(means), abs=2e-3)
    assert errors["pair_px"] == pytest.approx(np.median(means), abs=2e-3)
    assert errors["median_px"] == pytest.approx(np.sort(every)[(len(every) - 1) // 2], abs=2e-3)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "loss", lambda steps, *_: steps[-1][0].sum() * torch.nan)
    with pytest.raises(TrainingError, match="not finite any more after 0 steps: lower learning_rate"):
        train(TINY, None, tmp_path, ONE)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_the_curve_goes_on_from_the_checkpoint(tmp_path):
    with Curve(tmp_path, 0) as curve:
        for step in (1, 2, 3):
            curve.note(step, loss=step / 2, other=1.0)
    with (tmp_path / "curve.csv").open("a") as file:
        file.write("4,lo")
    with Curve(tmp_path, 2) as curve:
        curve.note(3, loss=9)
    assert read_curve(tmp_path) == [
        (1, "loss", 0.5),
        (1, "other", 1.0),
        (2, "loss", 1.0),
        (2, "other", 1.0),
        (3, "loss", 9),
    ]
    rows = list(csv.reader(io.StringIO((tmp_path / "curve.csv").read_text())))
    assert rows[0] == ["step", "what", "value"]
    with Curve(None, 0) as curve:
        curve.note(1, loss=1)


# ---------------------------------------------------------------- what cannot be gone on from


def test_a_checkpoint_of_another_configuration(tmp_path):
    train(replace(TINY, steps=2), None, tmp_path, ONE)
    with pytest.raises(CheckpointError, match=r"with another learning_rate \(0.001, now 0.002\)"):
        Run(replace(TINY, steps=2, learning_rate=2e-3), tmp_path, ONE)
    with pytest.raises(CheckpointError, match="with another net"):
        Run(replace(TINY, steps=2, net=replace(NET, memory=5)), tmp_path, ONE)
    with pytest.raises(CheckpointError, match="with another steps"):
        Run(TINY, tmp_path, ONE)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint(tmp_path, share):
    train(replace(TINY, steps=2), None, tmp_path, ONE)
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint: delete it") as error:
        Run(replace(TINY, steps=2), tmp_path, ONE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [{}, {"step": 1, "config": {}, "state": {}}, [1]])
def test_a_checkpoint_of_something_else(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        Run(TINY, tmp_path, ONE)


def test_a_checkpoint_stays_until_the_next_one_is_whole(tmp_path, monkeypatch):
    def full(content, path):
        path.write_bytes(b"half of it")
        if content["step"] > 2:
            raise OSError(28, "No space left on device")
        save(content, path)

    save = torch.save
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        train(TINY, None, tmp_path, ONE)
    assert Run(TINY, tmp_path, ONE).step == 2


def test_a_checkpoint_that_was_not_finished_does_not_count(tmp_path):
    (tmp_path / "checkpoint.pt.part").write_bytes(b"half")
    assert Run(TINY, tmp_path, ONE).step == 0


def test_other_footage_is_another_run(tmp_path, monkeypatch):
    def bank(value):
        return Banks(Bank(((np.full((96, 96, 3), value, np.uint8),),), 0.5), Bank((), 1.0))

    with monkeypatch.context() as patched, pytest.raises(Pulled):
        cut_off_after(3, patched)
        Run(TINY, tmp_path, ONE, bank(1)).go_on()
    with pytest.raises(CheckpointError, match="on other footage"):
        Run(TINY, tmp_path, ONE, bank(2)).go_on()


def test_a_batch_that_cannot_be_shared(tmp_path):
    with pytest.raises(ConfigError, match="batch of 2 cannot be shared among 3 processes"):
        Run(TINY, tmp_path, Ranks(0, 3, torch.device("cpu")))


# ---------------------------------------------------------------- the command, in processes of its own


def settings(folder, **more):
    """Write the tiny configuration."""
    text = (
        "steps: 6\nbatch: 2\nsize: 64\npainted: 1.0\nphotographs: false\nworkers: 0\nvalidate_every: 3\n"
        "validation_pairs: 2\ncheckpoint_every: 2\nlearning_rate: 0.001\njudge_steps: 0\n"
        "net: {features: 8, memory: 4, width: 12, reach: 2, updates: [1, 1, 1, 1]}\n"
    )
    path = folder / "tiny.yaml"
    path.write_text(text + "".join(f"{key}: {value}\n" for key, value in more.items()))
    return path


def started(*arguments, before=(), **environment):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment}
    command = [sys.executable, *before, "-m", "vs_align", "train", "flow", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_trains_and_says_how_far_on_stderr(uncut, tmp_path):
    done = started(settings(tmp_path), "--out", tmp_path / "run", "--device", "cpu", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run' / 'flow.safetensors'}\n"
    for line in ("step 3: validation mean_px", "step 6 of 6: loss", "0 min left", "weights: "):
        assert line in done.stderr
    assert same(weights(tmp_path / "run" / "flow.safetensors"), uncut[0])


def test_two_processes_give_the_weights_of_one(uncut, tmp_path):
    settings(tmp_path)
    alone = uncut[0]
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    arguments = (tmp_path / "tiny.yaml", "--out", tmp_path / "run", "--device", "cpu")
    done = started(*arguments, before=torchrun)
    assert done.returncode == 0, done.stderr
    together = weights(tmp_path / "run" / "flow.safetensors")
    # The mean of the features is taken out, and with it what these add to all cells alike: their gradient is rounding.
    idle = {"encoder.out.bias", "encoder.blocks.1.second.bias"}
    assert max(float((alone[name] - together[name]).abs().max()) for name in alone.keys() - idle) < 1e-5
    for one, other in zip(uncut[1], read_curve(tmp_path / "run"), strict=True):
        assert one[:2] == other[:2]
        assert one[2] == pytest.approx(other[2], abs=1e-3)
    assert done.stderr.count("step 6 of 6") == 1
    assert done.stdout.count("\n") == 1


def refused(capsys, *arguments):
    """Run the command, which is to fail with one line; return it."""
    assert cli.main(["train", "flow", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("vs-align")
    return line


def test_weights_to_begin_with_that_cannot_be(capsys, tmp_path):
    path = train(TINY, None, tmp_path / "tiny", ONE)
    config = settings(tmp_path)
    other = tmp_path / "other.yaml"
    other.write_text(config.read_text().replace("width: 12", "width: 15"))
    run = ("--out", tmp_path / "run", "--device", "cpu", "--begin")
    assert "a network of other sizes" in refused(capsys, other, *run, path)
    for wrong in (tmp_path / "none.safetensors", config):
        assert str(wrong) in refused(capsys, config, *run, wrong)


def test_the_exit_status_of_the_process_is_2(tmp_path):
    done = started(settings(tmp_path, stepz=3), "--out", tmp_path / "run")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "unknown key stepz" in line
    assert not (tmp_path / "run").exists()


def test_bad_input_is_one_line(tmp_path, capsys, monkeypatch):
    config, out = settings(tmp_path), tmp_path / "run"
    run = (config, "--out", out)
    assert "no folder" in refused(capsys, *run, "--footage", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no films or pictures" in refused(capsys, *run, "--footage", tmp_path / "empty")
    assert "no configuration huge: give a YAML file's path or one of" in refused(capsys, "huge")
    assert "must be cpu, cuda or cuda:0, not 'tpu'" in refused(capsys, *run, "--device", "tpu")
    assert "must be a whole number of at least 1" in refused(capsys, *run, "--threads", "0")
    assert "unrecognized arguments: --wheels" in refused(capsys, *run, "--wheels", 3)
    assert str(config) in refused(capsys, config, "--out", config)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "needs CUDA, which torch does not find" in refused(capsys, *run, "--device", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "there is no GPU number 5: torch finds 2" in refused(capsys, *run, "--device", "cuda:5")
    out.mkdir(exist_ok=True)
    (out / "checkpoint.pt").write_bytes(b"PK")
    assert "cannot be read as a checkpoint" in refused(capsys, *run, "--device", "cpu")


@pytest.mark.parametrize("package", ["torch", "yaml", "tensorboard"])
def test_a_missing_package_names_the_extra(capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    line = refused(capsys, "small")
    assert f'training needs {package}: install it with pip install "vs_align[train]"' in line


def test_too_little_gpu_memory_is_one_line(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(loop.Run, "_improved", full)
    line = refused(capsys, settings(tmp_path), "--out", tmp_path / "run", "--device", "cpu")
    assert "make batch or size smaller" in line


def test_only_the_first_process_speaks(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert cli.main(["train", "flow", "huge"]) == 2
    assert capsys.readouterr().err == ""


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Run, "_improved", stopped)
    arguments = (settings(tmp_path), "--out", tmp_path / "run", "--device", "cpu")
    assert cli.main(["train", "flow", *map(str, arguments)]) == 130
    assert "the same command goes on from the last checkpoint" in capsys.readouterr().err
