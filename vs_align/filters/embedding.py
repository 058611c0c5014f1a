"""From what a script says of the embedding network to the measure "embedding"."""

from os import PathLike

import vapoursynth as vs

from ..checks import Checks
from ..models import ModelError
from ..similarity.embedding.files import FILES
from ..similarity.embedding.measure import Embedding
from ..similarity.embedding.networks import open_network

__all__ = ["embedding_measure"]


def embedding_measure(
    check: Checks,
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    model: str | PathLike[str] | None,
    device: str | None,
    capacity: int,
) -> Embedding:
    """Return the measure, ready to compare the two clips.

    Args:
        check: speaks for the public function.
        clip, ref: clips of one format and size.
        model: a file of a network; None: the package's.
        device: where a network in torch works.
        capacity: clip frames that the store keeps.
    """
    try:
        return Embedding(clip, ref, open_network(model, device), capacity)
    except ModelError as error:
        check.runtime_error(str(error))
    except ImportError as error:
        missing = error.name or "torch"
        path = FILES.located(model)
        check.runtime_error(f'the network {path} needs {missing}: install it with pip install "vs_align[train]".')
