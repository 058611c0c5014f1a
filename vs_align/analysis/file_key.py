"""Which file is it: a key for what is kept of files."""

import hashlib
from pathlib import Path

import numpy as np

__all__ = ["file_key"]

# Of a file, so many pieces of so many bytes, its beginning and its end among them.
_PIECES, _PIECE_BYTES = 16, 1 << 16


def file_key(path: Path, about: str) -> str:
    """Return 40 hexadecimal digits for a file: its size, time of change and samples of its content, and ``about``.

    Raises:
        OSError: it cannot be read.
    """
    known = path.stat()
    key = hashlib.sha256(f"{about} {known.st_size} {known.st_mtime_ns} ".encode())
    with path.open("rb") as file:
        for start in np.linspace(0, max(0, known.st_size - _PIECE_BYTES), _PIECES).astype(np.int64).tolist():
            file.seek(start)
            key.update(file.read(_PIECE_BYTES))
    return key.hexdigest()[:40]
