"""What the training of a predictor is told."""

from dataclasses import dataclass
from pathlib import Path

from ...analysis.offset_predictors import KINDS
from ...enums import Similarity
from ...matching.offsets import REACH, SIDE
from ..configs import ConfigError, RunConfig, number, word, words

__all__ = ["CONFIGS", "OffsetConfig"]

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetConfig(RunConfig):
    """A predictor of offsets. Of what every run is told, ``steps`` and what follows is for "cnn" alone.

    Attributes:
        kind: "blend", "logistic", "svm", "mlp" or "cnn".
        similarity: the measure.
        length: frames of a passage. Scenes have 30 more, so that every offset is as long as any other.
        side: rows and columns of the matrix that learned predictors read, padded with zeros; a multiple of 16.
        frames: taken from each film at most.
        pairs: made of each scene and difficulty, each with an offset of its own.
        layers: of "mlp".
        epochs: of "mlp", at most.
        strengths: of regularisation, tried in turn for "logistic", "svm" and "mlp"; validation chooses.
        held_out: words; films with one of them in their path are for validation alone.
        unused: words; those with one of them in their path are not used at all.
    """

    kind: str = word("blend", KINDS)
    similarity: str = word("structure", tuple(each.value for each in Similarity if each is not Similarity.POSE))
    length: int = number(60, least=REACH + 2, most=SIDE)
    side: int = number(SIDE, least=32, most=SIDE)
    frames: int = number(720, least=1)
    pairs: int = number(8, least=1)
    layers: tuple[int, ...] = (2048, 1024, 512)
    epochs: int = number(12, least=1)
    strengths: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    held_out: tuple[str, ...] = words()
    unused: tuple[str, ...] = words()

    def check(self, where: str) -> None:
        """Refuse what does not go together; ``where`` names the configuration."""
        RunConfig.check(self, where)
        if self.side % 16 or self.side < self.length:
            raise ConfigError(f"{where}: side must be a multiple of 16 and at least length, not {self.side}")
        if not self.layers or min(self.layers) < 1:
            raise ConfigError(f"{where}: layers must be whole numbers of 1 and up, not {list(self.layers)}")
        if not self.strengths or min(self.strengths) <= 0:
            raise ConfigError(f"{where}: strengths must be numbers above 0, not {list(self.strengths)}")
        if "" in (*self.held_out, *self.unused):
            raise ConfigError(f"{where}: a word in held_out and unused must not be empty, since every path has it")
