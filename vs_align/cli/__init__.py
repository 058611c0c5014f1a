"""The ``vs-align`` command: a module of `commands` for each of its commands, found by being there."""

import os
import sys
from collections.abc import Sequence

import vapoursynth as vs

from .command import Parser, failure
from .console import Console, Level, discard_stdout, say
from .faults import Abandoned, Refusal

__all__ = ["main"]

_REFUSED, _INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``vs-align``.

    Args:
        argv: its arguments. None: those of the process.

    Returns:
        The exit code: 0 done; 2 what was asked for cannot be done, said in one line on stderr; 130 interrupted. A fault
        in vs_align itself is raised.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file's name may have letters that a terminal does not.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    name = "vs-align"
    try:
        options = Parser.of_all_commands().read(argv)
        name = f"vs-align {options.command.name}"
        with Console(Level.QUIET if options.quiet else Level.VERBOSE if options.verbose else Level.USUAL) as console:
            options.command.run(options, console)
    except SystemExit as left:
        # Help, the version, and arguments that make no sense, about which the parser has said its line.
        discard_stdout()
        return int(left.code or 0)
    except KeyboardInterrupt as interrupt:
        say(f"{name}: interrupted.")
        if isinstance(interrupt, Abandoned):
            # A plugin still works for a thread of ours, and cannot be stopped in any other way.
            os._exit(_INTERRUPTED)
        return _INTERRUPTED
    except (Refusal, ValueError, TypeError, RuntimeError, OSError, MemoryError, vs.Error) as error:
        line = failure(error)
        if line is None:
            raise
        say(f"{name}: {line}")
        return _REFUSED
    return 0
