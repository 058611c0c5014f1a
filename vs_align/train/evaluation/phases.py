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
    """Return the share of test frames whose phase a linear support vector machine tells, 0 to 1.

    Args:
        training: embeddings and phases of each video.
        testing: the same of others.
        share: of the training videos, the first ones, whose labels are used, above 0 to 1; at least one video.

    Raises:
        TrainFault: the videos used have one phase alone.
    """
    from sklearn.svm import LinearSVC

    used = training[: max(1, round(share * len(training)))]
    labels = np.concatenate([part for _, part in used])
    if len(np.unique(labels)) < 2:
        raise TrainFault(f"{len(used)} training videos have one phase alone: use more of them")
    model = LinearSVC(random_state=0, max_iter=10_000).fit(np.concatenate([part for part, _ in used]), labels)
    found = model.predict(np.concatenate([part for part, _ in testing]))
    return float((found == np.concatenate([part for _, part in testing])).mean())


def progress(labels: Labels) -> NDArray[np.float64]:
    """Return for each frame how far it has come through its phase, 0 to 1 and the phases passed, over all phases.

    Of phases that begin at b_0 = 0, b_1, ..., frame t in phase k of n has progress (k + (t - b_k) / (b_k+1 - b_k)) / n.
    """
    begins = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
    ends = np.append(begins[1:], len(labels))
    place = np.searchsorted(begins, np.arange(len(labels)), side="right") - 1
    within = (np.arange(len(labels)) - begins[place]) / (ends - begins)[place]
    return np.asarray((place + within) / len(begins), np.float64)


def progress_r2(training: Sequence[tuple[Embeddings, Labels]], testing: Sequence[tuple[Embeddings, Labels]]) -> float:
    """Return R^2 of the progress that a linear regression tells: the mean over the test videos, at most 1.

    1 - (squared error) / (squared deviation from the video's mean).

    Args:
        training, testing: as for `phase_accuracy`.
    """
    from sklearn.linear_model import LinearRegression

    wanted = np.concatenate([progress(labels) for _, labels in training])
    model = LinearRegression().fit(np.concatenate([part for part, _ in training]), wanted)
    scores = []
    for part, labels in testing:
        true = progress(labels)
        scores.append(1 - ((model.predict(part) - true) ** 2).sum() / ((true - true.mean()) ** 2).sum())
    return float(np.mean(scores))
