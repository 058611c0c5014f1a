"""How far predictors of the offset of two clips are off where every film is a test film once: nested cross-validation.

    python benchmarks/offsets_crossed.py [--footage ../shared/footage] [--measure structure] [--cache FOLDER]

Films are dealt into five parts of about as many scenes. Each part in turn is the test, and nothing of it is looked at:
of the other four, each is left out once while "blend" is fitted on the rest, and the method that is least off on what
was left out, on average, is the one chosen; blend is then fitted on all four. So "chosen by validation" is what someone
gets who never sees a test film. Pairs are made as in offsets.py; margins of 95 % are by bootstrap over films.
"""

import argparse
import collections
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from offsets import TEST_PAIRS, compared_views, line, second_copies

from vs_align.matching.offsets import PREDICTORS, Sight
from vs_align.train.configs import read
from vs_align.train.offset.config import CONFIGS, OffsetConfig
from vs_align.train.offset.evidence import fit_evidence
from vs_align.train.offset.scenes import Material, Pair, films, pairs
from vs_align.train.offset.scoring import CHANCE, errors

PARTS = 5
CHOSEN, NOTHING = "chosen by validation", "chance: 0"
type Errors = dict[str, NDArray[np.float64]]
type Predictors = dict[str, Callable[[Sight], int]]


def dealt(made: Sequence[Material], count: int) -> list[list[Material]]:
    """Return the views in parts of about as many scenes; all of a film are in one."""
    scenes = collections.Counter(film for film, _ in {(each.film, each.scene) for each in made})
    parts: list[list[str]] = [[] for _ in range(count)]
    for film, _ in sorted(scenes.items(), key=lambda item: (-item[1], item[0])):
        min(parts, key=lambda part: sum(scenes[name] for name in part)).append(film)
    return [[each for each in made if each.film in part] for part in parts]


def predictors(training: Sequence[Pair]) -> Predictors:
    """Return what nothing is fitted for, and blend, fitted."""
    return {**PREDICTORS, "blend": fit_evidence(training, training).blend}


def tried(methods: Predictors, known: Sequence[Pair]) -> Errors:
    """Return how far off methods are on pairs that have an offset."""
    return {name: errors(method, known) for name, method in methods.items()}


def with_offset(known: Sequence[Pair]) -> list[Pair]:
    return [pair for pair in known if pair.offset is not None]


def one_fold(parts: Sequence[Sequence[Pair]], test: int) -> Errors:
    """Return how far off all methods, and the one that validation chooses, are on the part that is the test."""
    others = [part for k, part in enumerate(parts) if k != test]
    held: dict[str, list[float]] = collections.defaultdict(list)
    for k, left_out in enumerate(others):
        methods = predictors([pair for j, part in enumerate(others) if j != k for pair in part])
        for name, off in tried(methods, with_offset(left_out)).items():
            held[name].extend(off)
    means = {name: float(np.mean(off)) for name, off in held.items()}
    chosen = min(means, key=means.__getitem__)
    tested = with_offset(parts[test])
    found = tried(predictors([pair for part in others for pair in part]), tested)
    shown = ", ".join(f"{name} {mean:.2f}" for name, mean in sorted(means.items(), key=lambda item: item[1])[:3])
    print(f"part {test + 1}: {len(tested)} test pairs; on validation {shown}; on test {found[chosen].mean():.2f}")
    return {NOTHING: errors(lambda _: 0, tested), CHOSEN: found[chosen], **found}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--footage", type=Path, default=Path(__file__).parents[2] / "shared" / "footage")
    parser.add_argument("--measure", default="structure")
    parser.add_argument("--cache", type=Path, help="folder for compared views")
    options = parser.parse_args()
    config = replace(read(OffsetConfig, "blend", CONFIGS), similarity=options.measure)
    paths = films(options.footage, (), second_copies(config))
    views = dealt(compared_views(paths, config, options.cache), PARTS)
    parts = [list(pairs(part, config.length, TEST_PAIRS, config.seed + k)) for k, part in enumerate(views)]
    found = [one_fold(parts, test) for test in range(PARTS)]
    tested = [pair for part in parts for pair in with_offset(part)]
    scenes = len({(pair.material.film, pair.material.scene) for pair in tested})
    of = [pair.material.film for pair in tested]
    print(f"\n{len({*of})} films, {scenes} scenes, {len(tested)} pairs. Chance: {CHANCE:.2f} expected.\n")
    print("| method | mean error, frames | median error | within 1 | release | worn | camera | across |")
    print("|---|---|---|---|---|---|---|---|")
    for name in found[0]:
        print(line(name, np.concatenate([each[name] for each in found]), tested, of), flush=True)


if __name__ == "__main__":
    main()
