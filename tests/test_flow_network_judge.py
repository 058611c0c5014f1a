"""Whom engine "flow" believes: the network's own flow, or what the grey values made of it."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vs_align.flow.network import engine  # noqa: E402
from vs_align.flow.network.judge import FACTS, Judge, facts  # noqa: E402
from vs_align.flow.network.model import AlignNet  # noqa: E402
from vs_align.flow.network.thin_plate import plated  # noqa: E402
from vs_align.flow.network.weights import load_weights  # noqa: E402
from vs_align.flow.options import AlignOptions  # noqa: E402
from vs_align.train.flow.config import FlowConfig, NetConfig  # noqa: E402
from vs_align.train.flow.loss import judge_loss  # noqa: E402
from vs_align.train.flow.trainer import JudgeObjective, train  # noqa: E402
from vs_align.train.ranks import Ranks  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_torch_thread")]

SIZES = {"features": 8, "memory": 4, "width": 12, "reach": 2, "updates": (1, 1, 1, 1)}
TINY = FlowConfig(
    steps=0, judge_steps=6, batch=2, size=64, painted=1.0, photographs=False, workers=0, validate_every=3,
    validation_pairs=2, checkpoint_every=2, net=NetConfig(**SIZES),
)  # fmt: skip
ONE = Ranks(0, 1, torch.device("cpu"))


def numbers(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32))


def pictures(seed=0):
    smooth = torch.nn.functional.avg_pool2d(numbers(1, 1, 72, 104, seed=seed), 9, 1) * 300 + 128
    return smooth[..., :64, :96].contiguous(), torch.roll(smooth, 2, 3)[..., :64, :96].contiguous()


def test_until_it_is_trained_it_leaves_everything_as_it_is():
    torch.manual_seed(0)
    net = AlignNet(**SIZES).eval()
    assert not net.judge(numbers(2, FACTS + 4, 8, 12)).any()
    ref, clip = pictures()
    keep = torch.ones_like(ref)
    judged = engine.estimate(net, ref, clip, keep, False, AlignOptions())
    del net.judge
    alone = engine.estimate(net, ref, clip, keep, False, AlignOptions())
    assert torch.equal(judged.grid, alone.grid)


def test_a_share_of_one_is_the_networks_flow_and_under_a_mask_there_is_none():
    torch.manual_seed(0)
    net = AlignNet(**SIZES).eval()
    torch.nn.init.constant_(net.judge.out.bias, 30.0)
    ref, clip = pictures()
    keep = torch.ones_like(ref)
    with torch.no_grad():
        both = engine.opinions(net, ref, clip, AlignOptions())
        grid = engine.estimate(net, ref, clip, keep, False, AlignOptions()).grid
        keep[..., 16:48, 16:48] = 0
        under = engine.estimate(net, ref, clip, keep, True, AlignOptions()).grid
    assert torch.allclose(grid, both.own, atol=1e-5)
    assert not torch.allclose(both.own, both.refined, atol=1e-2)
    assert both.seen.shape == (1, FACTS + 4, 8, 12)
    assert torch.isfinite(under).all()


def test_shares_are_from_nothing_to_one_and_facts_are_what_they_say():
    judge = Judge(3).eval()
    torch.nn.init.normal_(judge.out.weight, std=5.0)
    share = judge(numbers(2, FACTS + 3, 9, 7))
    assert share.shape == (2, 1, 9, 7)
    assert 0 <= share.min() < share.max() <= 1
    own, refined = torch.full((1, 2, 2, 2), 9.0), torch.zeros(1, 2, 2, 2)
    own[:, 1] = 0
    one = torch.ones(1, 1, 2, 2)
    told = facts(own, refined, 2 * one, torch.cat([3 * one, 4 * one], 1), 5 * one)
    expected = [4, 0, np.log(9.01), np.log(2), np.log(3.01), np.log(4.01), np.log(5.001)]
    assert told[0, :, 1, 1].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_plate_follows_sure_cells_and_passes_by_the_others():
    flow = torch.zeros(1, 2, 9, 12)
    flow[:, 0] = torch.arange(12.0) * 0.1
    spoiled, spread = flow.clone(), torch.full((1, 1, 9, 12), 0.1)
    spoiled[0, :, 4, 5] += 5
    spread[0, 0, 4, 5] = 10
    smooth = plated(spoiled, spread, 27.0, 40)
    assert (smooth - flow).abs().max() < 0.02


def test_its_loss_is_what_its_definition_says():
    found, flow, seen = numbers(1, 2, 2, 3), numbers(1, 2, 16, 24, seed=1), torch.ones(1, 1, 16, 24)
    seen[..., :8, :8] = 0
    values = []
    for y in range(2):
        for x in range(3):
            if (y, x) != (0, 0):
                true = flow[0, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8].double().mean((1, 2)).numpy()
                length = np.hypot(*(found[0, :, y, x].double().numpy() - true))
                values.append(np.sqrt(np.sqrt(length**2 + 1e-6) + 0.005))
    assert float(judge_loss(found, flow, seen)) == pytest.approx(np.mean(values), abs=1e-6)


def test_training_changes_the_judge_alone_and_resumes(tmp_path, monkeypatch):
    begun = load_weights(train(replace(TINY, judge_steps=0), None, tmp_path / "a", ONE)).state_dict()
    whole = load_weights(train(TINY, None, tmp_path / "b", ONE)).state_dict()
    assert {n for n in whole if not torch.equal(whole[n], begun[n])} >= {"judge.out.weight", "judge.first.weight"}
    assert all(torch.equal(whole[n], begun[n]) for n in whole if not n.startswith("judge."))

    class Pulled(Exception):
        """The plug."""

    judged, asked = JudgeObjective.loss, []

    def until(self, *given):
        asked.append(given)
        if len(asked) > 5:
            raise Pulled
        return judged(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(JudgeObjective, "loss", until)
        with pytest.raises(Pulled):
            train(TINY, None, tmp_path / "c", ONE)
    resumed = load_weights(train(TINY, None, tmp_path / "c", ONE)).state_dict()
    assert all(torch.equal(whole[n], resumed[n]) for n in whole)


def test_the_judge_follows_the_network_in_one_run(tmp_path):
    config = replace(TINY, steps=3, judge_steps=3)
    whole = load_weights(train(config, None, tmp_path / "run", ONE)).state_dict()
    assert (tmp_path / "run" / "judge" / "curve.csv").exists()
    alone = load_weights(train(replace(config, judge_steps=0), None, tmp_path / "alone", ONE)).state_dict()
    assert all(torch.equal(whole[n], alone[n]) for n in whole if not n.startswith("judge."))
    assert not torch.equal(whole["judge.out.weight"], alone["judge.out.weight"])
