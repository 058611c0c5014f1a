"""The training loop: the same pairs in the same order whoever runs it, cut off and resumed or not."""

import logging
import math
import os
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ...flow.network.engine import opinions
from ...flow.network.model import AlignNet
from ...flow.network.weights import load_weights, save_weights
from ...flow.options import AlignOptions
from . import checkpoint
from .checkpoint import CheckpointError, Progress
from .config import ConfigError, FlowConfig
from .curve import Curve
from .data import Pairs, Sample
from .loss import judge_loss, loss
from .ranks import Ranks
from .sources import Bank, Banks, banks, fingerprint, shelved
from .validation import SEED, Validation

__all__ = ["Run", "TrainingError", "train"]

_log = logging.getLogger("vs_align")
_LOG_EVERY = 50
# Gradients longer than this are shortened.
_MOST_GRADIENT = 1.0
_WARM_UP = 0.05
# Other pairs than the network's.
_JUDGE_SEED = 1 << 20


class TrainingError(RuntimeError):
    """A training that cannot go on. One line that says what to do."""


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
        ConfigError: the batch cannot be shared among the processes, or the weights are of a network of other sizes.
        ModelError: the weights cannot be read.
        CheckpointError: the folder holds a run of another configuration.
        SourceError: there is nothing in the footage to train on.
        TrainingError: the loss is not finite any more.
    """
    path = out / "flow.safetensors"
    run = Run(config, out, ranks, begin=begin)
    judging = None
    if config.judge_steps and run.step == config.steps:
        judging = JudgeRun(config, out, ranks, run.net)
    if run.step < config.steps or (judging is not None and judging.step < config.judge_steps):
        pictures = banks(config, footage)
        if run.step < config.steps:
            run.go_on(pictures)
        if config.judge_steps:
            judging = judging or JudgeRun(config, out, ranks, run.net)
            judging.go_on(pictures)
    if ranks.first:
        save_weights(path, run.net)
    return path


class Run:
    """A network in training.

    Args:
        config, out, ranks: as for `train`.
        kind: the network's class; another one takes part in a comparison.
        begin: as for `train`.

    Attributes:
        net: the network.
        step: how many steps are done.
    """

    def __init__(
        self,
        config: FlowConfig,
        out: Path,
        ranks: Ranks,
        kind: type[AlignNet] = AlignNet,
        begin: Path | None = None,
    ) -> None:
        if config.batch % ranks.count:
            raise ConfigError(
                f"a batch of {config.batch} cannot be shared among {ranks.count} processes: make it a multiple of them"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            net = kind(**config.as_dict()["net"])
        if begin is not None:
            _take_over(net, begin)
        # It learns when the network has learned.
        net.judge.requires_grad_(False)
        self._set_up(config, out, ranks, net, net)

    def _set_up(self, config: FlowConfig, out: Path, ranks: Ranks, net: AlignNet, learner: nn.Module) -> None:
        """Take what is trained, the network or a part of it, to where the folder's checkpoint is."""
        out.mkdir(parents=True, exist_ok=True)
        self._config, self._out, self._ranks = config, out, ranks
        self.net = net.to(ranks.device)
        self._shared = ranks.share(learner)
        self._learning = [part for part in learner.parameters() if part.requires_grad]
        self._optimizer = torch.optim.AdamW(self._learning, lr=config.learning_rate, weight_decay=config.weight_decay)
        steps = max(config.steps, 2)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, config.learning_rate, total_steps=steps, pct_start=_warm_up(steps)
        )
        half = config.mixed_precision and ranks.device.type == "cuda"
        self._scaler = torch.amp.GradScaler("cuda", enabled=half)
        self._restore()

    def _parts(self) -> dict[str, Any]:
        return {
            "net": self.net,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "scaler": self._scaler,
        }

    def _restore(self) -> None:
        progress = checkpoint.restore(self._out, self._config, self._parts(), self._ranks.device)
        self.step, self._losses, self._pictures = progress.step, progress.losses, progress.pictures
        if self._averaged(self.step) != self.step:
            raise CheckpointError(f"the processes do not see the same checkpoint in {self._out}: give a shared folder")

    def go_on(self, banks: Banks) -> None:
        """Train to the last step."""
        config = self._config
        pictures = fingerprint(banks.training)
        if self._pictures not in ("", pictures):
            raise CheckpointError(f"{self._out} holds a run on other footage: give the same, or use another folder")
        self._pictures = pictures
        pairs = Pairs(banks.validation, config.size, SEED, config.looks, config.plain)
        validation = Validation(pairs, config.validation_pairs)
        curve = Curve(self._out if self._ranks.first else None, self.step)
        with _repeatable(), curve, closing(self._samples(banks.training)) as samples:
            began, first = time.monotonic(), self.step
            for sample in samples:
                self._losses += self._improved(sample)
                self.step += 1
                if self._due(_LOG_EVERY):
                    self._note_loss(curve, (time.monotonic() - began) / (self.step - first))
                if self._due(config.validate_every) and self._ranks.first:
                    self._note_validation(curve, validation)
                if self._due(config.checkpoint_every):
                    self._save()

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self._config.steps

    def _samples(self, bank: Bank) -> Generator[Sample]:
        """Yield this process's share of the batches that are left."""
        config, ranks = self._config, self._ranks
        share = config.batch // ranks.count
        indices = [
            [step * config.batch + ranks.place * share + k for k in range(share)]
            for step in range(self.step, config.steps)
        ]
        with shelved(bank) if config.workers else nullcontext(bank) as lent:
            pairs = Pairs(lent, config.size, config.seed, config.looks, config.plain)
            yield from self._loader(pairs, indices)

    def _loader(self, pairs: Pairs, batches: list[list[int]]) -> DataLoader[Sample]:
        return DataLoader(
            pairs,
            batch_sampler=batches,
            num_workers=self._config.workers,
            pin_memory=self._ranks.device.type == "cuda",
            # A forked process would inherit locks of OpenCV's and FFmpeg's threads, and wait for ever.
            multiprocessing_context="spawn" if self._config.workers else None,
            worker_init_fn=_begun,
        )

    def _improved(self, sample: Sample) -> float:
        """Take one step; return the loss before it."""
        value = self._loss({name: part.to(self._ranks.device, non_blocking=True) for name, part in sample.items()})
        before = float(value.detach())
        if not math.isfinite(before):
            advice = "lower learning_rate, or leave mixed_precision out"
            raise TrainingError(f"the loss is not finite any more after {self.step} steps: {advice}, and begin anew")
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(value).backward()
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._learning, _MOST_GRADIENT)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        return before

    def _loss(self, sample: Sample) -> Tensor:
        with self._precision():
            found = self._shared(sample["ref"], sample["clip"])
        return loss(found.steps, sample["flow"], sample["seen"], self._ranks.averaged)

    def _validated(self, ref: Tensor, clip: Tensor) -> Tensor:
        """Return the flow that is to be validated."""
        return cast(Tensor, self.net(ref, clip).flow)

    def _precision(self) -> Any:
        if not self._config.mixed_precision:
            return nullcontext()
        kind = self._ranks.device.type
        return torch.autocast(kind, dtype=torch.float16 if kind == "cuda" else torch.bfloat16)

    def _note_loss(self, curve: Curve, seconds: float) -> None:
        """Note the mean loss of the last steps; ``seconds``: what one takes."""
        # Multiples of it are noted, and the last step.
        count = self.step % _LOG_EVERY or _LOG_EVERY
        value = self._averaged(self._losses) / count
        self._losses = 0.0
        curve.note(self.step, loss=value)
        left = (self._config.steps - self.step) * seconds / 60
        _log.info("step %d of %d: loss %.4f, %.0f min left", self.step, self._config.steps, value, left)

    def _averaged(self, value: float) -> float:
        """Return the mean over the processes."""
        return float(self._ranks.averaged(torch.tensor(value, dtype=torch.float64, device=self._ranks.device)))

    def _note_validation(self, curve: Curve, validation: Validation) -> None:
        errors = validation.errors(self._validated, self._ranks.device)
        curve.note(self.step, **errors)
        _log.info("step %d: validation %s", self.step, ", ".join(f"{k} {v:.3f}" for k, v in errors.items()))

    def _save(self) -> None:
        progress = Progress(self.step, self._averaged(self._losses), self._pictures)
        if self._ranks.first:
            checkpoint.save(self._out, self._config, progress, self._parts())


class JudgeRun(Run):
    """A judge in training: whom to believe, on pairs that the network, which stays as it is, has not seen.

    Args:
        config, out, ranks: as for `train`.
        net: the network, trained.
    """

    def __init__(self, config: FlowConfig, out: Path, ranks: Ranks, net: AlignNet) -> None:
        own = replace(
            config,
            steps=config.judge_steps,
            learning_rate=config.judge_learning_rate,
            seed=config.seed + _JUDGE_SEED,
        )
        net.requires_grad_(False)
        net.judge.requires_grad_(True).train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(own.seed)
            net.judge.begin()
        self._set_up(own, out / "judge", ranks, net, net.judge)

    def _loss(self, sample: Sample) -> Tensor:
        both = opinions(self.net, sample["ref"], sample["clip"], AlignOptions())
        found = both.blended(self._shared(both.seen))
        return judge_loss(found, sample["flow"], sample["seen"], self._ranks.averaged)

    def _validated(self, ref: Tensor, clip: Tensor) -> Tensor:
        both = opinions(self.net, ref, clip, AlignOptions())
        self.net.judge.eval()
        share = self.net.judge(both.seen)
        self.net.judge.train()
        return both.blended(share)


def _take_over(net: AlignNet, begin: Path) -> None:
    """Give a network the weights of a file; how often it is applied may differ, its sizes may not."""
    given = load_weights(begin).state_dict()
    if {name: part.shape for name, part in given.items()} != {name: p.shape for name, p in net.state_dict().items()}:
        raise ConfigError(f"{begin} holds a network of other sizes than the configuration's net: make them the same")
    net.load_state_dict(given)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Compute the same each time; numbers near nothing, as small gradients are and slow a CPU down, become nothing."""
    # cuBLAS repeats itself only with a work space of its own. Read on its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_flush_denormal(False)


def _warm_up(steps: int) -> float:
    """Return the share of the steps in which the learning rate rises: more where that would be no step at all."""
    return min(max(_WARM_UP, 1.5 / steps), 0.9)


def _begun(worker: int) -> None:
    """Keep a worker to one thread, since there are several, and leave Ctrl-C to the process that began it."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
