"""The objective "matching": the same frame in another release is nearer than any frame beside it.

A sample is a stretch of a film twice: as ref's frames are in the framing that was found, and as another release shows
them. Each frame is to be told from the others of its stretch, which are the hard ones, and from those of the other
stretches of the batch, by the products of the embeddings. Contrastive loss as in van den Oord et al., "Representation
Learning with Contrastive Predictive Coding", 2018, in both directions.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...similarity.embedding.files import read_frame_net, save_frame_net
from ...similarity.embedding.frame_net import FrameNet
from ...similarity.embedding.framing import IDENTITY, INPUT, Framing, framed, normalised
from ...similarity.embedding.numpy_net import FrameSizes
from ..command import Order
from ..configs import ConfigError, RunConfig, number, word, words
from ..ranks import Ranks
from ..run import Objective
from ..run import train as trained
from .releases import Film, Films, films_of, zoom_matrix

__all__ = ["CONFIG", "MatchingConfig", "MatchingObjective", "Stretches", "matching_loss", "train"]

# Frames from one to the next of a stretch: films whose frames hardly differ are stepped through faster, too.
_STEPS = (1, 1, 1, 2, 3)
# What the search for a framing leaves of its error: zoom, and shift in halves of the frame.
_MISFIT = 0.008
_SEED = 1789
"""Of the validation's stretches: the same in every run."""

type Pictures = NDArray[np.float32]
type Rng = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchingConfig(RunConfig):
    """A training run of the frame network; what every run is told is in `RunConfig`.

    Attributes:
        objective: "matching".
        held_out: words; films with one of them in their path are for validation alone.
        unused: words; films with one of them in their path are not used at all.
        most_frames: of a film.
        crfs: of x264, one made release each.
        reach: frames on each side whose mean is taken off a picture.
        length: frames of a stretch.
        temperature: what products are divided by.
        validation_stretches: how many of each film a validation uses.
        first, second, third, fourth, embedding: channels of the network, and length of its embeddings.
    """

    objective: str = word("matching", ("matching",))
    steps: int = number(2400, least=0)
    batch: int = number(8, least=1)
    learning_rate: float = 1e-3
    held_out: tuple[str, ...] = words()
    unused: tuple[str, ...] = words()
    most_frames: int = number(720, least=2)
    crfs: tuple[int, ...] = (24, 29, 33)
    reach: int = number(12, least=1, most=240)
    length: int = number(20, least=2)
    temperature: float = number(0.05, least=1e-3)
    validation_stretches: int = number(4, least=1)
    first: int = number(32, least=1)
    second: int = number(64, least=1)
    third: int = number(96, least=1)
    fourth: int = number(128, least=1)
    embedding: int = number(256, least=2)

    @property
    def sizes(self) -> FrameSizes:
        """The network's."""
        return FrameSizes(self.first, self.second, self.third, self.fourth, self.embedding)

    def check(self, where: str) -> None:
        """Refuse values that do not go together."""
        RunConfig.check(self, where)
        if not all(0 <= crf <= 51 for crf in self.crfs):
            raise ConfigError(f"{where}: crfs must be from 0 to 51, not {list(self.crfs)}")


CONFIG = MatchingConfig


def train(config: MatchingConfig, order: Order, ranks: Ranks) -> Path:
    """Train the frame network as ordered; return the weights' path.

    Raises:
        ModelError: weights cannot be read.
        TrainFault: there is nothing to train on, or the run cannot go on.
    """
    with ExitStack() as held:
        known: list[Films] = []

        def films() -> Films:
            if not known:
                lent = films_of(
                    order.footage, held_out=config.held_out, unused=config.unused, most_frames=config.most_frames,
                    crfs=config.crfs, reach=config.reach, apart=max(_STEPS) * config.length, seed=config.seed,
                )  # fmt: skip
                known.append(held.enter_context(lent))
            return known[0]

        return trained(MatchingObjective(config, films, order.begin), config, order.out, ranks)


class MatchingObjective(Objective):
    """The frame network in training.

    Args:
        config: the run.
        films: lends what is trained on and validated with, when that is first needed.
        begin: a network's file to begin with; None: random weights.
    """

    name = "embedding"
    validates_untrained = True

    def __init__(self, config: MatchingConfig, films: Callable[[], Films], begin: Path | None = None) -> None:
        self.config: MatchingConfig = config
        self._films, self._begin = films, begin

    def network(self) -> FrameNet:
        """Return the network."""
        net = FrameNet(self.config.sizes)
        if self._begin is not None:
            tensors, _ = read_frame_net(self._begin)
            wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
            if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
                raise ConfigError(f"{self._begin} is of a network of other sizes: give the configuration its sizes")
            net.load_state_dict({name: torch.from_numpy(t.astype(np.float32)) for name, t in tensors.items()})
        return net

    def data(self, workers: int) -> AbstractContextManager["Stretches"]:
        """Lend the stretches."""
        return self._lent()

    @contextmanager
    def _lent(self) -> Iterator["Stretches"]:
        yield Stretches(self._films().training, self.config.length, self.config.seed)

    def fingerprint(self) -> str:
        """Return what identifies the films."""
        return self._films().fingerprint()

    def loss(self, network: Any, batch: Any, ranks: Ranks) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of stretches, and the share of frames that are matched."""
        refs, clips, same = batch
        # The batch's second half are the others' releases: the network is called once.
        made = network(torch.cat([refs, clips]).flatten(0, 1)).float().view(2, *refs.shape[:2], -1)
        value, matched = matching_loss(made[0], made[1], same, self.config.temperature)
        return value, {"matched": float(matched)}

    def validate(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """Return the loss, and the share of frames told from the others of their stretches, of held-out films."""
        films = self._films().validation
        if not films:
            return {}
        stretches = Stretches(films, self.config.length, _SEED, each=True)
        shares, losses = [], []
        for n in range(len(films) * self.config.validation_stretches):
            refs, clips, same = (torch.from_numpy(part)[None].to(device) for part in stretches[n])
            made = network(torch.cat([refs, clips]).flatten(0, 1)).float().view(2, *refs.shape[:2], -1)
            value, matched = matching_loss(made[0], made[1], same, self.config.temperature)
            losses.append(float(value))
            shares.append(float(matched))
        return {"held_out_loss": float(np.mean(losses)), "held_out_matched": float(np.mean(shares))}

    def save(self, network: Any, path: Path) -> None:
        """Write the weights, with how they were trained."""
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
        training = json.dumps(self.config.as_dict())
        save_frame_net(path, tensors, self.config.sizes, self.config.reach, training=training)


def matching_loss(refs: Tensor, clips: Tensor, same: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the loss of stretches, a scalar, and the share of ref's frames whose nearest frame is the same.

    Args:
        refs, clips: embeddings of unit length, (B, T, D).
        same: [b, t, u]: clip's frame u shows what ref's frame t shows, (B, T, T); true on the diagonal.
        temperature: what products are divided by.
    """
    count, length = refs.shape[:2]
    wanted = same.float()
    forth, back = wanted / wanted.sum(2, keepdim=True), wanted / wanted.sum(1, keepdim=True)
    near = refs @ clips.transpose(1, 2) / temperature
    every = torch.einsum("btd,csd->btcs", refs, clips).reshape(count, length, -1) / temperature
    found = near.argmax(2, keepdim=True)
    matched = same.gather(2, found).float().mean()
    one = (every.logsumexp(2) - (forth * near).sum(2)).mean()
    other = (near.logsumexp(1) - (back * near).sum(1)).mean()
    return (one + other) / 2, matched


class Stretches(torch.utils.data.Dataset[tuple[Pictures, Pictures, NDArray[np.bool_]]]):
    """Sample number n is the same whoever makes it and when: it depends on the seed and n alone.

    Args:
        films: to draw from, longer ones more often.
        length: frames of a stretch.
        seed: of all that is drawn.
        each: the film of sample n is n modulo their number, for validation; else it is drawn.
    """

    def __init__(self, films: tuple[Film, ...], length: int, seed: int, each: bool = False) -> None:
        self._films, self._length, self._seed, self._each = films, length, seed, each
        weights = np.sqrt([len(film) for film in films])
        self._weights = weights / weights.sum()

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> tuple[Pictures, Pictures, NDArray[np.bool_]]:
        """Return ref's pictures and clip's, (T, 72, 96) each, and which of them show the same, (T, T)."""
        rng = np.random.default_rng([self._seed, index])
        place = index % len(self._films) if self._each else rng.choice(len(self._films), p=self._weights)
        film, step = self._films[int(place)], int(rng.choice(_STEPS))
        frames = rng.integers(0, len(film) - step * self._length + 1) + step * np.arange(self._length)
        release = int(rng.integers(len(film.files)))
        misfit = rng.uniform(-_MISFIT, _MISFIT, 4)
        framing = Framing(*(film.framings[release] + misfit).tolist())
        ref = _shown(film, 0, frames, framing, rng)
        clip = _worn(_shown(film, release, frames, IDENTITY, rng), rng)
        first, second = np.minimum.outer(frames, frames), np.maximum.outer(frames, frames)
        return normalised(_grain(ref, rng, 0.4)), normalised(clip), film.same[first, second - first]


def _shown(film: Film, release: int, frames: NDArray[np.int64], framing: Framing, rng: Rng) -> Pictures:
    """Return frames of a release in a framing, with the contrast of dark and bright places drawn anew."""
    pictures = np.stack([framed(picture, framing) for picture in film.pictures(release, frames)])
    if rng.random() < 0.6:
        place = zoom_matrix(framing, INPUT)
        light = np.stack([cv2.warpAffine(p, place, INPUT, borderMode=cv2.BORDER_REPLICATE) for p in film.luma[frames]])
        pictures *= 1 + np.float32(rng.uniform(-1.2, 1.2)) * (light.astype(np.float32) / 255 - 0.5)
    return pictures


def _worn(pictures: Pictures, rng: Rng) -> Pictures:
    """Return pictures with what releases do to them besides: blur, a subtitle that comes and goes, grain."""
    if rng.random() < 0.4:
        sigma = rng.uniform(0.3, 1.0)
        pictures = np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures])
    if rng.random() < 0.3:
        first, last = np.sort(rng.integers(0, len(pictures), 2))
        top, left = rng.integers(50, 66), rng.integers(4, 30)
        letters = (rng.random((rng.integers(3, 7), rng.integers(25, 64))) < 0.5).astype(np.float32)
        text = cv2.GaussianBlur(letters, (0, 0), 0.7) * rng.uniform(20, 120) * rng.choice((-0.5, 0.5, 1))
        pictures[first : last + 1, top : top + len(text), left : left + text.shape[1]] += text.astype(np.float32)
    return _grain(pictures, rng, 1.8)


def _grain(pictures: Pictures, rng: Rng, most: float) -> Pictures:
    if rng.random() < 0.8:
        pictures = pictures + rng.standard_normal(pictures.shape, np.float32) * np.float32(rng.uniform(0, most))
    return pictures
