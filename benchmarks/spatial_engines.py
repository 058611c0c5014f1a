"""The engines of `vs_align.spatial` beside each other on the pairs of spatial_pairs.py: "dis", and "flow" in torch.

    python benchmarks/spatial_engines.py [--groups ghost cards] [--precision 3] [--variant 1] [--weights FILE]
        [--device cpu] [--threads 2] [--without judge]

Prints Markdown: residual displacement and error of the flow for each group, what the network alone reaches, then what
is promised of engine "flow" beside what was measured. No picture of these pairs was in the network's training.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from spatial import CLEAN, LOOKS, luma, mean, measure, split, table, warp
from spatial_pairs import GROUPS, SIZE, Pair, pairs

from vs_align.filters.warping import POOR
from vs_align.flow.align import AlignOptions, align
from vs_align.flow.network import align as twin
from vs_align.flow.network import engine
from vs_align.flow.network.model import AlignNet
from vs_align.flow.network.pipeline import projective_start
from vs_align.flow.network.weights import FILES, load_weights

ENGINES = ("dis", "flow", "network alone")
WORTHWHILE = tuple(group for group in GROUPS if group != "unrelated")

type Flow = np.ndarray


@dataclass(frozen=True)
class Found:
    """What an engine found: flow (H, W, 2) or None, its own residual, and how long it took."""

    flow: Flow | None
    says: float
    seconds: float


def by_dis(pair: Pair, options: AlignOptions) -> Found:
    """Align by the engine without a network."""
    begin = time.perf_counter()
    found = align(luma(split(pair.clip)), luma(split(pair.ref)), pair.mask, options)
    return Found(found.flow, found.residual, time.perf_counter() - begin)


def by_flow(pair: Pair, options: AlignOptions, net: AlignNet, device: str) -> Found:
    """Align by the network and the stages that refine it."""
    begin = time.perf_counter()
    lumas = [luma(split(side)) for side in (pair.clip, pair.ref)]
    clip, ref = (torch.from_numpy(side)[None, None].to(device) for side in lumas)
    mask = None if pair.mask is None else torch.from_numpy(pair.mask)[None, None].to(device)
    with torch.inference_mode():
        found = twin.align(net, clip, ref, mask, options)
        # As the filter does.
        if float(found.residual) >= POOR and (start := projective_start(*lumas, pair.mask)) is not None:
            cells = torch.from_numpy(np.ascontiguousarray(start.transpose(2, 0, 1)))[None].to(device)
            other = twin.align(net, clip, ref, mask, options, cells)
            found = other if float(other.residual) < float(found.residual) else found
        flow = found.flow[0].permute(1, 2, 0).cpu().numpy() if bool(found.moved) else None
    return Found(flow, float(found.residual), time.perf_counter() - begin)


def by_network(pair: Pair, net: AlignNet, device: str) -> Found:
    """Return the network's flow as it is."""
    begin = time.perf_counter()
    sides = (torch.from_numpy(luma(split(side)))[None, None].to(device) for side in (pair.ref, pair.clip))
    height, width = pair.ref.shape[:2]
    ref, clip = (F.pad(side, (0, -width % 32, 0, -height % 32), mode="replicate") for side in sides)
    with torch.inference_mode():
        cells = net(ref, clip).flow
        flow = F.interpolate(cells, scale_factor=8.0, mode="bilinear")[0, :, :height, :width]
    return Found(np.ascontiguousarray(flow.permute(1, 2, 0).cpu().numpy()), float("nan"), time.perf_counter() - begin)


def results(options: argparse.Namespace, net: AlignNet) -> Iterator[tuple[str, dict[str, list]]]:
    """Yield each group and, for each engine, (pair's name, figures, seconds)."""
    asked = AlignOptions(precision=options.precision)
    for group in options.groups:
        found: dict[str, list] = {name: [] for name in options.engines}
        for pair in pairs(group, SIZE, options.variant):
            ideal = warp(pair.clip, pair.flow_true)
            for name in options.engines:
                if name == "dis":
                    one = by_dis(pair, asked)
                elif name == "flow":
                    one = by_flow(pair, asked, net, options.device)
                else:
                    one = by_network(pair, net, options.device)
                figures = measure(pair, warp(pair.clip, one.flow), one.flow, one.says, ideal)
                found[name].append((pair.name, figures, one.seconds))
        yield group, found


def average(found: list, figure: str) -> float:
    """Return the mean of a figure over pairs."""
    return mean([(name, figures) for name, figures, _ in found], figure)


def print_promises(measured: dict[str, dict[str, list]]) -> None:
    """Print what engine "flow" has to reach, beside what it and "dis" reached."""
    limits = {
        "clean warps": (CLEAN, 0.02, None),
        "other look on clip": (LOOKS, None, 0.75),
        "other look on ref": (("ref_all",), None, 0.75),
        "identical": (("identical",), 0.0, None),
        "ghosting": (("ghost",), 0.35, None),
        "test cards": (("cards",), 0.10, None),
        **{g: ((g,), None, 1.0) for g in ("crushed", "halos", "low240", "grain_both", "subtitle_unmasked", "cel")},
    }
    body = []
    for label, (groups, most, share) in limits.items():
        if not all(group in measured for group in groups):
            continue
        dis, flow = ([one for g in groups for one in measured[g][name]] for name in ("dis", "flow"))
        for figure, name in (("residual", "residual px"), ("flow_error", "flow error px")):
            theirs, ours = average(dis, figure), average(flow, figure)
            limit = most if share is None else share * theirs
            kept = ours <= limit + 0.0005
            body.append([label, name, f"{theirs:.3f}", f"{ours:.3f}" if kept else f"**{ours:.3f}**", f"<= {limit:.3f}"])
    print("\n## Must hold\n")
    table(["", "figure", "dis", "flow", "asked for"], body)


def take_out(part: str, net: AlignNet) -> None:
    """Leave a part of engine "flow" out, for this run."""
    if part == "judge":
        net.judge = None
    elif part == "shift":
        engine._begun = lambda pair: torch.zeros(len(pair.clip), 2, *(side // 8 for side in pair.clip.shape[2:]))
    elif part == "homography":
        globals()["POOR"] = 2.0
    elif part == "memory":
        update = net.update.forward
        net.update.forward = lambda alike, features, memory: update(alike, features, torch.zeros_like(memory))
    elif part == "updates":
        net.updates = (1, 1, 1, 1)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--groups", nargs="*", default=list(WORTHWHILE), choices=GROUPS, metavar="GROUP")
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES))
    parser.add_argument("--precision", type=int, default=3)
    parser.add_argument("--variant", type=int, default=0)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--without", choices=("judge", "shift", "homography", "memory", "updates"), help="leave it out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Print what was asked for."""
    options = arguments()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    net = load_weights(FILES.located(options.weights), options.device)
    if options.without:
        take_out(options.without, net)
    print(f"torch {torch.__version__} on {options.device}, OpenCV {cv2.__version__}, precision {options.precision}, ")
    print(f"variant {options.variant}, {SIZE[0]}x{SIZE[1]}\n")
    measured = {}
    body = []
    for group, found in results(options, net):
        measured[group] = found
        cells = [[f"{average(one, figure):.3f}" for one in found.values()] for figure in ("residual", "flow_error")]
        times = [f"{np.median([seconds for *_, seconds in one]):.2f}" for one in found.values()]
        body.append([group, *cells[0], *cells[1], *times])
        print(f"{group}: {' '.join([*cells[0], *cells[1]])}", file=sys.stderr, flush=True)
    engines = options.engines
    names = [*(f"residual px: {e}" for e in engines), *(f"flow error px: {e}" for e in engines)]
    table(["group", *names, *(f"s a frame: {e}" for e in engines)], body)
    if {"dis", "flow"} <= set(engines):
        print_promises(measured)


if __name__ == "__main__":
    main()
