"""x264 that codes the same frames the same way each time, on any number of cores."""

import platform

__all__ = ["REPEATABLE"]

# Its AVX2 code for macroblock trees reads memory that nothing was written to where the width is no multiple of 128, and
# codes differently each time; up to SSE4.2 it does not, with the same result at other widths.
_X86 = platform.machine().lower() in ("x86_64", "amd64")
REPEATABLE = {"threads": "1", **({"x264-params": "asm=SSE4.2"} if _X86 else {})}
"""Options of libx264."""
