"""What a command is, how its arguments are read, and how a fault becomes one line."""

import argparse
import importlib
import pkgutil
import re
import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import vapoursynth as vs

from .console import Console, say
from .faults import Refusal

__all__ = ["Command", "Parser", "failure"]

_ABOUT = "Bring two versions of a video together, in time and in space."
_MORE = """\
vs-align COMMAND --help says more, with an example. Results go to stdout, everything else to stderr.
Exit codes: 0 done, 2 cannot be done (one line says why), 130 interrupted."""
_NARROW, _WIDE = 80, 110


@dataclass(frozen=True, slots=True)
class Command:
    """One command. What is heavy is imported in `run`, since all commands are there whenever one is run.

    Attributes:
        name: what is typed.
        usage: what it must be given, in order.
        summary: what it does, in one line.
        example: how it is used, and what else its help should say.
        arguments: adds its arguments to a parser.
        run: does it. It raises `Refusal` where it cannot.
    """

    name: str
    usage: str
    summary: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[argparse.Namespace, Console], None]


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def read(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Return the options of a command; what it does not know is refused under its own name."""
        found, unknown = self.parse_known_args(arguments)
        if unknown:
            found.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def error(self, message: str) -> NoReturn:
        """Say one line and leave with exit code 2."""
        say(f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help.")
        self.exit(2)

    @classmethod
    def of_all_commands(cls) -> "Parser":
        """Return the parser of ``vs-align`` with all commands that there are."""
        from .. import __version__

        parser = cls("vs-align", description=_ABOUT, epilog=_MORE, formatter_class=_Format)
        parser.add_argument("--version", action="version", version=f"vs-align {__version__}")
        parsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
        for command in _commands():
            own = parsers.add_parser(
                command.name,
                help=command.summary,
                usage=f"%(prog)s {command.usage} [options]",
                description=command.summary,
                epilog=command.example,
                formatter_class=_Format,
            )
            command.arguments(own)
            loud = own.add_mutually_exclusive_group()
            loud.add_argument("-v", "--verbose", action="store_true", help="say more")
            loud.add_argument("-q", "--quiet", action="store_true", help="say nothing but what is wrong")
            own.set_defaults(command=command, parser=own)
        return parser


class _Format(argparse.HelpFormatter):
    """Help as wide as the terminal, between 80 columns and what is read well; lines of examples stay as they are."""

    def __init__(self, prog: str) -> None:
        wide = shutil.get_terminal_size((_NARROW, 24)).columns
        super().__init__(prog, max_help_position=24, width=min(max(wide, _NARROW), _WIDE))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Fill each paragraph but those with indented lines."""
        parts = text.split("\n\n")
        return "\n\n".join(part if "\n  " in part else textwrap.fill(" ".join(part.split()), width) for part in parts)


def _commands() -> list[Command]:
    from . import commands

    names = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
    return [importlib.import_module(f"{commands.__name__}.{name}").COMMAND for name in names]


def failure(error: BaseException) -> str | None:
    """Return in one line what is wrong; None where that is a fault of vs_align's own."""
    text = " ".join(str(error).split())
    if isinstance(error, Refusal):
        return text
    named = re.match(r"vs_align\.[\w.]+: ", text)
    if named:
        return text[named.end() :]
    if isinstance(error, MemoryError):
        return "there is not enough memory."
    if isinstance(error, vs.Error):
        return f"a frame cannot be had: {text}"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}." if error.filename and error.strerror else text
    return None
