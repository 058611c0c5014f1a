"""What a training of the sequence network came to: its curve, as Markdown and as a picture.

    python benchmarks/embedding_training.py RUN                                   # the curve of a run's folder
    python benchmarks/embedding_training.py RUN --plot docs/embedding_curve.png   # drawn, where Matplotlib is installed

The frame error is that of nearest neighbours between two made views of videos that the training does not see.
"""

import argparse
import sys
from pathlib import Path

from vs_align.train.curve import read_curve

type Points = list[tuple[int, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that vs-align train embedding wrote")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    options = parser.parse_args()
    rows = read_curve(options.run)
    if not rows:
        sys.stderr.write(f"{options.run} holds no curve.csv: give the folder of a run\n")
        return 2
    curves: dict[str, Points] = {}
    for step, name, value in rows:
        curves.setdefault(name, []).append((step, value))
    print("| step | frame error | of the untrained | Kendall's tau |\n|---|---|---|---|")
    first = curves["frame_error"][0][1]
    for (step, error), (_, tau) in zip(curves["frame_error"], curves["tau"], strict=True):
        print(f"| {step} | {error:.2f} | {error / first:.2f} | {tau:.3f} |")
    if options.plot:
        draw(curves, options.plot)
    return 0


def draw(curves: dict[str, Points], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps, errors = zip(*curves["frame_error"], strict=True)
    left.plot(steps, errors, "o-", color="tab:blue", label="held-out videos")
    left.axhline(errors[0] / 2, color="tab:red", linestyle="--", label="half of the untrained")
    left.set(xlabel="step", ylabel="frame error", title="nearest neighbour between two views", ylim=(0, None))
    left.legend()
    steps, losses = zip(*curves["loss"], strict=True)
    right.plot(steps, losses, color="tab:grey")
    right.set(xlabel="step", ylabel="loss", title="sequence contrastive loss, training")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
