"""What a simple model reads from the embeddings: which phase of the action, how far it has come. Needs scikit-learn.

Definitions as in Dwibedi et al., "Temporal Cycle-Consistency Learning", CVPR 2019.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..faults import TrainFault

__all__ = ["phase_accuracy", "progress", "progress_r2"]

type Embeddings = NDArray[np.floating]
"""(T, D)."""
type Labels = NDArray[np.integer]
"""The phase of each frame, (T,)."""


def phase_accuracy(
    training: Sequence[tuple[Embeddings, Labels]], testing: Sequence[tuple[Embeddings, Labels]], share: float = 1.0
) -> float:
    """Return the share of test frames whose phase a support vector machine tells, 0 to 1.

    Its kernel is radial, scikit-learn's default, as in the public code of TCC and of CARL.

    Args:
        training: embeddings and phases of each video.
        testing: the same of others.
        share: of the training videos, the first ones, whose labels are used, above 0 to 1; at least one video.

    Raises:
        TrainFault: the videos used have one phase alone.
    """
    from sklearn.svm import SVC

    used = training[: max(1, round(share * len(training)))]
    labels = np.concatenate([part for _, part in used])
    if len(np.unique(labels)) < 2:
        raise TrainFault(f"{len(used)} training videos have one phase alone: use more of them")
    model = SVC().fit(np.concatenate([part for part, _ in used]), labels)
    found = model.predict(np.concatenate([part for part, _ in testing]))
    return float((found == np.concatenate([part for _, part in testing])).mean())


def progress(labels: Labels, phases: Labels) -> NDArray[np.float64]:
    """Return for each frame how far it is from each key event, in shares of its video's length.

    An event is the last frame before a phase that comes after p_k, for each of the phases p_0 < p_1 < ... but the last;
    where none comes, the video's last frame. Frame t of T frames has (t - t_k) / T.

    Args:
        labels: of one video.
        phases: those that there are in all videos, rising.

    Returns:
        (T, len(phases) - 1); below 0 before the event.
    """
    later = labels[:, None] > phases[None, :-1]
    events = np.where(later.any(0), later.argmax(0) - 1, len(labels) - 1).clip(min=0)
    return np.asarray((np.arange(len(labels))[:, None] - events) / len(labels), np.float64)


def progress_r2(training: Sequence[tuple[Embeddings, Labels]], testing: Sequence[tuple[Embeddings, Labels]]) -> float:
    """Return R^2 of the progress that a linear regression tells, at most 1: the mean over the key events.

    1 - (squared error) / (squared deviation from the mean), both over all frames of all test videos, as the public code
    of TCC and of CARL has it.

    Args:
        training, testing: as for `phase_accuracy`.

    Raises:
        TrainFault: there is no event, since all videos have one phase alone.
    """
    from sklearn.linear_model import LinearRegression

    phases = np.unique(np.concatenate([labels for _, labels in (*training, *testing)]))
    if len(phases) < 2:
        raise TrainFault("the videos have one phase alone: give others")
    wanted, true = (np.concatenate([progress(labels, phases) for _, labels in part]) for part in (training, testing))
    model = LinearRegression().fit(np.concatenate([part for part, _ in training]), wanted)
    told = model.predict(np.concatenate([part for part, _ in testing]))
    return float((1 - ((told - true) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0)).mean())
