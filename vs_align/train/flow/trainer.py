"""What is trained: the alignment network, and then its judge. The loop is `vs_align.train.run`'s."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...flow.network.engine import opinions
from ...flow.network.model import AlignNet
from ...flow.network.weights import load_weights, save_weights
from ...flow.options import AlignOptions
from ..configs import ConfigError
from ..ranks import Ranks
from ..run import Objective, Run
from .config import FlowConfig
from .data import Pairs, Sample
from .loss import judge_loss, loss
from .sources import Bank, Banks, banks, fingerprint, shelved
from .validation import SEED, Validation

__all__ = ["FlowObjective", "JudgeObjective", "judge_run", "train"]

# Other pairs than the network's.
_JUDGE_SEED = 1 << 20


def train(config: FlowConfig, footage: Path | None, out: Path, ranks: Ranks, begin: Path | None = None) -> Path:
    """Train the network, or go on where a run in the same folder was cut off.

    Args:
        config: the run.
        footage: folder of films and pictures; None: photographs and painted pictures alone.
        out: folder for checkpoint.pt, curve.csv, TensorBoard's events and, at the end, flow.safetensors.
        ranks: this process's place among those that train together.
        begin: weights to begin with, of a network of the same sizes; None: random ones, drawn from the seed.

    Returns:
        The weights' path.

    Raises:
        ModelError: the weights cannot be read.
        TrainFault: the batch cannot be shared among the processes, the weights are of a network of other sizes, the
            folder holds a run of another configuration, there is nothing in the footage to train on, or the loss is
            not finite any more.
    """
    pictures = _Once(lambda: banks(config, footage))
    run = Run(FlowObjective(config, pictures, begin=begin), config, out, ranks)
    # What cannot be gone on from is refused before anything is read.
    judging = judge_run(config, out, ranks, run.net, pictures) if config.judge_steps and _done(run, config) else None
    if not _done(run, config):
        run.go_on()
    if config.judge_steps:
        judging = judging or judge_run(config, out, ranks, run.net, pictures)
        if judging.step < config.judge_steps:
            judging.go_on()
    return run.saved()


def _done(run: Run, config: FlowConfig) -> bool:
    return run.step == config.steps


class _Once:
    """Pictures that are read when they are first needed."""

    def __init__(self, read: Callable[[], Banks]) -> None:
        self._read, self._banks = read, cast(Banks | None, None)

    def __call__(self) -> Banks:
        self._banks = self._banks or self._read()
        return self._banks


class FlowObjective(Objective):
    """The network in training.

    Args:
        config: the run.
        pictures: reads what is trained on and validated with, when that is first needed.
        kind: the network's class; another one takes part in a comparison.
        begin: as for `train`.
    """

    name = "flow"

    def __init__(
        self,
        config: FlowConfig,
        pictures: Callable[[], Banks],
        kind: type[AlignNet] = AlignNet,
        begin: Path | None = None,
    ) -> None:
        self.config: FlowConfig = config
        self._pictures, self._kind, self._begin = pictures, kind, begin
        self._validation: Validation | None = None

    def network(self) -> AlignNet:
        """Return the network; its judge learns when it has learned."""
        net = self._kind(**self.config.as_dict()["net"])
        if self._begin is not None:
            _take_over(net, self._begin)
        net.judge.requires_grad_(False)
        return net

    def data(self, workers: int) -> AbstractContextManager[Pairs]:
        """Lend the pairs."""
        return self._lent(workers)

    @contextmanager
    def _lent(self, workers: int) -> Iterator[Pairs]:
        config, bank = self.config, self._pictures().training
        lending: AbstractContextManager[Bank] = shelved(bank) if workers else nullcontext(bank)
        with lending as lent:
            yield Pairs(lent, config.size, config.seed, config.looks, config.plain)

    def fingerprint(self) -> str:
        """Return what identifies the pictures."""
        return fingerprint(self._pictures().training)

    def loss(self, network: Any, batch: Sample, ranks: Ranks) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of pairs."""
        found = network(batch["ref"], batch["clip"])
        return loss(found.steps, batch["flow"], batch["seen"], ranks.averaged), {}

    def validate(self, network: AlignNet, device: torch.device) -> Mapping[str, float]:
        """Return the errors on pairs of pictures that are held out."""
        if self._validation is None:
            config = self.config
            pairs = Pairs(self._pictures().validation, config.size, SEED, config.looks, config.plain)
            self._validation = Validation(pairs, config.validation_pairs)
        return self._validation.errors(lambda ref, clip: self.estimate(network, ref, clip), device)

    def estimate(self, network: AlignNet, ref: Tensor, clip: Tensor) -> Tensor:
        """Return the flow that is validated."""
        return cast(Tensor, network(ref, clip).flow)

    def save(self, network: AlignNet, path: Path) -> None:
        """Write the weights."""
        save_weights(path, network)


class JudgeObjective(FlowObjective):
    """A judge in training: whom to believe, on pairs that the network, which stays as it is, has not seen.

    Args:
        config: the judge's run.
        pictures: as for `FlowObjective`.
        net: the network, trained.
    """

    def __init__(self, config: FlowConfig, pictures: Callable[[], Banks], net: AlignNet) -> None:
        super().__init__(config, pictures)
        self._net = net

    def network(self) -> AlignNet:
        """Return the network with a judge that has learned nothing."""
        self._net.requires_grad_(False)
        self._net.judge.requires_grad_(True)
        self._net.judge.begin()
        return self._net

    def learner(self, network: nn.Module) -> nn.Module:
        """Return the judge."""
        return cast(AlignNet, network).judge

    def loss(self, network: Any, batch: Sample, ranks: Ranks) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of what the judge decides on."""
        both = opinions(self._net, batch["ref"], batch["clip"], AlignOptions())
        found = both.blended(network(both.seen))
        return judge_loss(found, batch["flow"], batch["seen"], ranks.averaged), {}

    def estimate(self, network: AlignNet, ref: Tensor, clip: Tensor) -> Tensor:
        """Return what the judge decides on."""
        both = opinions(network, ref, clip, AlignOptions())
        return both.blended(network.judge(both.seen))


def judge_run(config: FlowConfig, out: Path, ranks: Ranks, net: AlignNet, pictures: Callable[[], Banks]) -> Run:
    """Return the run of the judge, in a folder of its own.

    Args:
        config: the run of the network.
        out, ranks: as for `train`.
        net: the network, trained.
        pictures: as for `FlowObjective`.
    """
    own = replace(
        config,
        steps=config.judge_steps,
        learning_rate=config.judge_learning_rate,
        seed=config.seed + _JUDGE_SEED,
        mixed_precision=False,
    )
    return Run(JudgeObjective(own, pictures, net), own, out / "judge", ranks)


def _take_over(net: AlignNet, begin: Path) -> None:
    """Give a network the weights of a file; how often it is applied may differ, its sizes may not."""
    given = load_weights(begin).state_dict()
    if {name: part.shape for name, part in given.items()} != {name: p.shape for name, p in net.state_dict().items()}:
        raise ConfigError(f"{begin} holds a network of other sizes than the configuration's net: make them the same")
    net.load_state_dict(given)
