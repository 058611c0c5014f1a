"""Measures of embeddings against values worked by hand."""

import numpy as np
import pytest

from vs_align.train.datasets.table import Row
from vs_align.train.evaluation.alignment import frame_errors, kendalls_tau, nearest
from vs_align.train.evaluation.retrieval import average_precision
from vs_align.train.faults import TrainFault


def on_line(*values: float) -> np.ndarray:
    """Embeddings on a line."""
    return np.array(values, np.float32)[:, None]


# ---------------------------------------------------------------- alignment


def test_the_nearest_is_the_first_of_equals():
    assert nearest(on_line(0, 3.9, 10), on_line(1, 4, 4, 9, -1)).tolist() == [0, 1, 3]


def test_kendalls_tau():
    line = on_line(0, 1, 2, 3)
    assert kendalls_tau(line, line) == 1
    assert kendalls_tau(line, line[::-1]) == -1
    # Neighbours 0, 2, 1, 3: of six pairs one is reversed.
    assert kendalls_tau(line, on_line(0, 2, 1, 3)) == pytest.approx((5 - 1) / 6)
    # Neighbours 0, 0, 1, 1: two pairs are equal, and count for nothing.
    assert kendalls_tau(line, on_line(0, 3)) == pytest.approx(4 / 6)


def test_order_alone_says_nothing_of_the_frames():
    one, other = np.arange(20), np.arange(20) + 5
    # In order, and five frames off.
    assert kendalls_tau(on_line(*one), on_line(*one)) == 1
    errors = frame_errors(on_line(*one), on_line(*one), one, other)
    assert errors.tolist() == [5] * 15


def test_frame_errors_leave_out_what_has_no_partner_and_what_no_choice_avoids():
    one, other = on_line(0, 1, 2, 3), on_line(0, 3, 1)
    numbers, other_numbers = np.array([0, 10, 19, 40]), np.array([8, 20, 30])
    # Frames 0 and 40 lie outside. Frame 10, which is 1, finds frame 30: off by 20, and 2 at best. Frame 19, which is 2,
    # is as near to 3 as to 1, and the first of equals is frame 20: off by 1, which is the best.
    assert frame_errors(one, other, numbers, other_numbers).tolist() == [18, 0]


# ---------------------------------------------------------------- retrieval


def test_average_precision():
    first = on_line(0, 10), np.array([1, 2])
    other = on_line(1, 2, 9, 20), np.array([1, 2, 2, 1])
    # First's: 0 finds 1, 2 (right, wrong); 10 finds 9, 2 (both right).
    # Other's find both of first's, phases 1 and 2: one of two is right each time.
    # The longer video counts no more than the other.
    assert average_precision([first, other], 2) == pytest.approx(((0.5 + 1) / 2 + 0.5) / 2)
    # The nearest alone: 0 -> 1 right, 10 -> 9 right; 1 -> 0 right, 2 -> 0 wrong, 9 -> 10 right, 20 -> 10 wrong.
    assert average_precision([first, other], 1) == pytest.approx((1 + 0.5) / 2)
    # More than there are: all of the others'.
    assert average_precision([first, other], 15) == pytest.approx(0.5)


# ---------------------------------------------------------------- phases


def test_progress_by_hand():
    pytest.importorskip("sklearn")
    from vs_align.train.evaluation.phases import progress

    phases = np.array([3, 5, 7])
    # The first event is the last frame before a phase above 3, the second the last before one above 5.
    steps = np.arange(6)
    made = progress(np.array([3, 3, 5, 5, 5, 7]), phases)
    assert made == pytest.approx(np.stack([steps - 1, steps - 4], 1) / 6)
    # Without the phase between both are one; without the last, its event is the video's last frame.
    assert progress(np.array([3, 3, 7, 7]), phases) == pytest.approx((np.arange(4)[:, None] - [1, 1]) / 4)
    assert progress(np.array([3, 3, 5, 5]), phases) == pytest.approx((np.arange(4)[:, None] - [1, 3]) / 4)
    # What begins later than an event is after it from its first frame on.
    assert progress(np.array([5, 7]), phases) == pytest.approx((np.arange(2)[:, None] - [0, 0]) / 2)


def test_progress_r2_by_hand():
    pytest.importorskip("sklearn")
    from vs_align.train.evaluation.phases import progress_r2

    labels = np.array([0, 0, 1, 1])
    # The one event is frame 1.
    true = np.array([-1, 0, 1, 2]) / 4
    videos = [(on_line(*true), labels)] * 2
    assert progress_r2(videos, videos) == pytest.approx(1)
    # Trained on progress itself the regression returns what it is given: here 0.125 too much each time.
    shifted = [(on_line(*(true + 0.125)), labels)]
    deviation = ((true - true.mean()) ** 2).sum()
    assert progress_r2(videos, shifted) == pytest.approx(1 - 4 * 0.125**2 / deviation, abs=1e-6)
    with pytest.raises(TrainFault, match="one phase alone"):
        progress_r2([(on_line(1, 2), np.array([4, 4]))], [(on_line(1, 2), np.array([4, 4]))])


def test_progress_r2_is_that_of_the_public_definition():
    """Each key event by itself, over all frames of all videos, as in TCC's code; loops and normal equations."""
    pytest.importorskip("sklearn")
    from vs_align.train.evaluation.phases import progress_r2

    rng = np.random.default_rng(2)

    def video(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.searchsorted(np.sort(rng.choice(np.arange(1, count), 2, replace=False)), np.arange(count), "right")
        return np.stack([np.arange(count) / count, labels, rng.normal(size=count)], 1), labels

    training, testing = [video(20), video(35)], [video(12), video(40)]
    scores = []
    for phase in (0, 1):
        known, asked, wanted, true = [], [], [], []
        for part, rows, values in ((training, known, wanted), (testing, asked, true)):
            for made, labels in part:
                event = max(t for t in range(len(labels)) if labels[t] == phase)
                for t in range(len(labels)):
                    rows.append([1, *made[t]])
                    values.append((t - event) / len(labels))
        given = np.array(known)
        told = np.array(asked) @ np.linalg.solve(given.T @ given, given.T @ np.array(wanted))
        mean = sum(true) / len(true)
        missed = sum((value - right) ** 2 for value, right in zip(told, true, strict=True))
        scores.append(1 - missed / sum((right - mean) ** 2 for right in true))
    assert progress_r2(training, testing) == pytest.approx(sum(scores) / 2, abs=1e-9)


def test_phase_accuracy():
    pytest.importorskip("sklearn")
    from vs_align.train.evaluation.phases import phase_accuracy

    training = [(on_line(-2, -1, 1, 2), np.array([0, 0, 1, 1]))] * 10
    testing = [(on_line(-3, -0.5, 0.5, 3), np.array([0, 1, 1, 1]))]
    assert phase_accuracy(training, testing) == 0.75
    # One video of ten has no more than one phase.
    poor = [(on_line(1, 2), np.array([0, 0])), *training]
    with pytest.raises(TrainFault, match="one phase alone"):
        phase_accuracy(poor, testing, 0.1)
    assert phase_accuracy(poor, testing, 1.0) == 0.75
    # No line divides the middle from both sides; the kernel is radial.
    nested = [(on_line(-2, -1.8, 0, 0.2, 1.8, 2), np.array([0, 0, 1, 1, 0, 0]))] * 5
    assert phase_accuracy(nested, nested) == 1


# ---------------------------------------------------------------- all together


def test_all_figures_of_phases():
    pytest.importorskip("sklearn")
    pytest.importorskip("av")
    from vs_align.train.evaluation.suite import evaluate_phases

    labels = np.repeat([0, 1, 2], 10)
    videos = [(np.stack([labels == k for k in range(3)], 1).astype(np.float32), labels)] * 3
    figures = evaluate_phases(videos, videos)
    assert [figures[f"phase accuracy, {share} % of the labels"] for share in (10, 50, 100)] == [1, 1, 1]
    assert [figures[f"AP@{count}"] for count in (5, 10, 15)] == [1, 1, 1]
    # Within a phase all frames are one: pairs of two phases alone are in order, 300 of 435.
    assert figures["Kendall's tau"] == pytest.approx(300 / 435)
    # Events are frames 9 and 19, and progress the steps from them. It is told by the mean of each phase: 1 - (within) /
    # (all) of thirty steps.
    steps = np.arange(30)
    within = sum(((steps[k : k + 10] - steps[k : k + 10].mean()) ** 2).sum() for k in (0, 10, 20))
    assert figures["progress, R^2"] == pytest.approx(1 - within / ((steps - 14.5) ** 2).sum(), abs=1e-5)
    with pytest.raises(TrainFault, match="two others at least"):
        evaluate_phases(videos, videos[:1])


def test_pairs_of_recordings(monkeypatch, tmp_path):
    pytest.importorskip("av")
    from vs_align.train.evaluation import suite

    # Two cameras in step, and one that began three frames later.
    known = {"a": on_line(*range(10)), "b": on_line(*range(10)), "late": on_line(*range(3, 13))}
    monkeypatch.setattr(suite, "read_video", lambda path, size: known[path.name])
    seen = []

    def figures(one, other, begin, other_begin):
        def embed(frames):
            seen.append(frames[:, 0].tolist())
            return frames

        row = Row(0, "pair", tmp_path / one, tmp_path / other, 0, 0, (begin,), (other_begin,))
        return suite.evaluate_pairs(embed, 16, [row])

    # What one recording lacks at its beginning does not move it: files in step stay so.
    assert figures("a", "b", 3, 0) == {"frame error, mean": 0, "frame error, median": 0, "Kendall's tau": 1}
    assert seen == [list(range(3, 10)), list(range(10))]
    # Said to be in step, frames 0 to 2 find 0 and the others are 3 ahead.
    assert figures("a", "late", 0, 0)["frame error, median"] == 3
    with pytest.raises(TrainFault, match="b has 10 frames and is said to begin at 50"):
        figures("a", "b", 0, 50)
    known["a"] = on_line(0, 1)
    with pytest.raises(TrainFault, match="no two recordings have a moment in common"):
        figures("a", "b", 0, 5)


@pytest.mark.torch
def test_views_of_one_frame_say_nothing():
    torch = pytest.importorskip("torch")
    pytest.importorskip("av")
    from vs_align.train.embedding.views import Batch
    from vs_align.train.evaluation.between_views import view_figures

    def pair(count: int) -> Batch:
        """Frames whose one value is their embedding; the other view's run backwards."""
        line = torch.arange(count).float()
        frames = torch.stack([line, line.flip(0)])[..., None]
        return Batch(frames, torch.ones(2, count, dtype=torch.bool), line.expand(2, -1), torch.full((2,), float(count)))

    def net(frames, valid):
        return frames

    # 0, 1, 2 find 2, 1, 0: reversed, and off by 2, 0, 2.
    wanted = {"frame_error": pytest.approx(4 / 3), "tau": -1}
    assert view_figures(net, [pair(3)], torch.device("cpu")) == wanted
    assert view_figures(net, [pair(1), pair(3), pair(1)], torch.device("cpu")) == wanted
    assert view_figures(net, [pair(1)], torch.device("cpu")) == {}
