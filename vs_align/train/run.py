"""The training loop: the same samples in the same order whoever runs it, cut off and resumed or not.

What is trained, on what and for what is an `Objective`; the loop is the same for all of them. An objective says:

    class Mine(Objective):
        name = "mine"                           # the run leaves mine.safetensors

        def network(self): ...                  # -> nn.Module with its first weights. The seed is set; called once
        def data(self, workers): ...            # -> context manager of a Dataset. Sample n hangs on the seed and n
                                                #    alone; with workers it is sent to other processes (pickled) once
        def loss(self, network, batch, ranks):  # -> scalar, {name: float}. Given what the DataLoader made of the
            ...                                 #    samples, on the device; call network(...) once and no part of it
                                                #    alone: it is DDP's wrapper, in mixed precision if asked for
        def validate(self, network, device):    # -> {name: float}, what goes into the curve. In the first process
            ...                                 #    alone; the network itself, in eval mode, without gradients
        def save(self, network, path): ...      # writes the weights with what they say of themselves

    path = train(Mine(config), config, out, ranks)

and, where the defaults below will not do: `learner`, `optimizer`, `fingerprint`, `collate`, `gradient_clip`,
`log_every`, `validates_untrained`.

A step is a batch of ``config.batch`` samples over all processes: step s has the samples s * batch to s * batch + batch
- 1, of which each process gets an equal share. A loss that is a mean over things of which samples have different
numbers divides by ``ranks.averaged(count)``, the mean count of all processes: the mean of the processes' losses is then
the loss of the whole batch, and so are the gradients. An objective whose samples belong together makes whole batches
its samples: ``batch: 1`` and ``collate = staticmethod(first)``.

Random numbers of torch (dropout) are seeded anew in each step from the seed, the step and the process, so that a run
that goes on draws what an uncut one draws.
"""

import logging
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import checkpoint
from .checkpoint import CheckpointError, Progress
from .configs import ConfigError, RunConfig
from .curve import Curve
from .faults import TrainingError
from .loading import loader, moved
from .ranks import Ranks

__all__ = ["Objective", "Run", "first", "train"]

_log = logging.getLogger("vs_align.train")


def first(samples: Sequence[Any]) -> Any:
    """Return the only sample of a batch: the collation of objectives whose samples are whole batches."""
    return samples[0]


class Objective(ABC):
    """What is trained, on what and for what; see the module.

    Attributes:
        name: of the weights' file.
        config: the run's.
        collate: from a list of samples to a batch; None: torch's default. A function of a module, since it is pickled.
        gradient_clip: gradients longer than this are shortened.
        log_every: steps from one note of the loss to the next.
        validates_untrained: whether the network is validated before the first step too.
    """

    name: str = "network"
    config: RunConfig
    collate: Callable[[Sequence[Any]], Any] | None = None
    gradient_clip: float = 1.0
    log_every: int = 50
    validates_untrained: bool = False

    @abstractmethod
    def network(self) -> nn.Module:
        """Return the network with its first weights; the seed is set."""

    @abstractmethod
    def data(self, workers: int) -> AbstractContextManager[Any]:
        """Lend a dataset whose sample n depends on the seed and n alone."""

    @abstractmethod
    def loss(self, network: Any, batch: Any, ranks: Ranks) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of this process's share of a batch, and figures for the curve."""

    @abstractmethod
    def validate(self, network: Any, device: torch.device) -> Mapping[str, float]:
        """Return how good the network is on data that no training sees."""

    @abstractmethod
    def save(self, network: Any, path: Path) -> None:
        """Write the weights."""

    def learner(self, network: nn.Module) -> nn.Module:
        """Return the part of the network that learns, which is what `loss` is given."""
        return network

    def fingerprint(self) -> str:
        """Return what identifies the data; a run does not go on with other data. "": not known."""
        return ""

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> tuple[Any, Any]:
        """Return an optimizer and a schedule that is stepped after each step.

        AdamW; the learning rate rises over the first twentieth of the run and falls along a cosine to nothing.
        """
        config, steps = self.config, max(self.config.steps, 2)
        optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        # It rises for longer where that would be no step at all.
        rising = min(max(0.05, 1.5 / steps), 0.9)
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=steps, pct_start=rising
        )


def train(objective: Objective, config: RunConfig, out: Path, ranks: Ranks) -> Path:
    """Train to the last step, or go on where a run in the same folder was cut off, and write the weights.

    Args:
        objective: what is trained.
        config: the run.
        out: folder for checkpoint.pt, curve.csv, TensorBoard's events and, at the end, the weights.
        ranks: this process's place among those that train together.

    Returns:
        The weights' path, ``out / f"{objective.name}.safetensors"``.

    Raises:
        TrainFault: the folder holds a run of another configuration or on other data, the batch cannot be shared among
            the processes, or the loss is not finite any more.
    """
    run = Run(objective, config, out, ranks)
    if run.step < config.steps:
        run.go_on()
    elif run.step and ranks.first:
        _log.info("the run in %s was done before; to begin anew, use another folder", out)
    return run.saved()


class Run:
    """A network in training.

    Args:
        objective, config, out, ranks: as for `train`.

    Attributes:
        net: the network.
        step: how many steps are done.
    """

    def __init__(self, objective: Objective, config: RunConfig, out: Path, ranks: Ranks) -> None:
        if config.batch % ranks.count:
            raise ConfigError(
                f"a batch of {config.batch} cannot be shared among {ranks.count} processes: make it a multiple of them"
            )
        self._objective, self._config, self._out, self._ranks = objective, config, out, ranks
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            net = objective.network()
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is not a folder: give another --out")
        out.mkdir(parents=True, exist_ok=True)
        self.net = net.to(ranks.device)
        self._learner = objective.learner(self.net)
        self._shared = ranks.share(self._learner)
        self._learning = [part for part in self._learner.parameters() if part.requires_grad]
        self._optimizer, self._schedule = objective.optimizer(self._learning)
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
        self.step, self._sums, self._data = progress.step, dict(progress.sums), progress.data
        if self._averaged(self.step) != self.step:
            raise CheckpointError(f"the processes do not see the same checkpoint in {self._out}: give a shared folder")

    def go_on(self) -> None:
        """Train to the last step."""
        config, data = self._config, self._objective.fingerprint()
        if self._data not in ("", data):
            raise CheckpointError(f"{self._out} holds a run on other footage: give the same, or use another folder")
        self._data = data
        curve = Curve(self._out if self._ranks.first else None, self.step)
        with _repeatable(self._ranks.device), curve, closing(self._batches()) as batches:
            if self._objective.validates_untrained and not self.step and self._ranks.first:
                self._note_validation(curve)
            began, before = time.monotonic(), self.step
            for batch in batches:
                self._add(self._improved(batch))
                self.step += 1
                if self._due(self._objective.log_every):
                    self._note_sums(curve, (time.monotonic() - began) / (self.step - before))
                if self._due(config.validate_every) and self._ranks.first:
                    self._note_validation(curve)
                if self._due(config.checkpoint_every):
                    self._save()

    def saved(self) -> Path:
        """Write the weights, in the first process, and return their path."""
        path = self._out / f"{self._objective.name}.safetensors"
        if self._ranks.first:
            self._objective.save(self.net, path)
        return path

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self._config.steps

    def _batches(self) -> Generator[Any]:
        """Yield this process's share of the batches that are left."""
        config, ranks = self._config, self._ranks
        share = config.batch // ranks.count
        indices = [
            [step * config.batch + ranks.place * share + k for k in range(share)]
            for step in range(self.step, config.steps)
        ]
        with self._objective.data(config.workers) as samples:
            yield from loader(samples, indices, config.workers, ranks.device, self._objective.collate)

    def _improved(self, batch: Any) -> dict[str, float]:
        """Take one step; return the loss before it, and the objective's figures."""
        torch.manual_seed(((self._config.seed << 32) + (self.step << 12) + self._ranks.place) % (1 << 63))
        self._learner.train()
        value, figures = self._objective.loss(self._forward, moved(batch, self._ranks.device), self._ranks)
        before = float(value.detach())
        if not math.isfinite(before):
            advice = "lower learning_rate, or leave mixed_precision out"
            raise TrainingError(f"the loss is not finite any more after {self.step} steps: {advice}, and begin anew")
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(value).backward()
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._learning, self._objective.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        return {"loss": before, **figures}

    def _forward(self, *given: Any, **named: Any) -> Any:
        """Call the network, in mixed precision if that is asked for."""
        kind = self._ranks.device.type
        half: Any = nullcontext()
        if self._config.mixed_precision:
            half = torch.autocast(kind, dtype=torch.float16 if kind == "cuda" else torch.bfloat16)
        with half:
            return self._shared(*given, **named)

    def _add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def _note_sums(self, curve: Curve, seconds: float) -> None:
        """Note the mean loss and figures of the last steps; ``seconds``: what one takes."""
        # Multiples of it are noted, and the last step.
        count = self.step % self._objective.log_every or self._objective.log_every
        values = {name: self._averaged(value) / count for name, value in self._sums.items()}
        self._sums = {}
        curve.note(self.step, **values)
        left = (self._config.steps - self.step) * seconds / 60
        shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        _log.info("step %d of %d: %s, %.0f min left", self.step, self._config.steps, shown, left)

    def _averaged(self, value: float) -> float:
        """Return the mean over the processes."""
        return float(self._ranks.averaged(torch.tensor(value, dtype=torch.float64, device=self._ranks.device)))

    def _note_validation(self, curve: Curve) -> None:
        self._learner.eval()
        with torch.no_grad():
            figures = self._objective.validate(self.net, self._ranks.device)
        self._learner.train()
        if figures:
            curve.note(self.step, **figures)
            _log.info("step %d: validation %s", self.step, ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))

    def _save(self) -> None:
        sums = {name: self._averaged(value) for name, value in self._sums.items()}
        if self._ranks.first:
            checkpoint.save(self._out, self._config, Progress(self.step, sums, self._data), self._parts())


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Compute the same each time, whatever was drawn before; leave torch's random numbers as they were.

    Numbers near nothing, as small gradients are and slow a CPU down, become nothing.
    """
    # cuBLAS repeats itself only with a work space of its own. Read on its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_flush_denormal(True)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_flush_denormal(False)
