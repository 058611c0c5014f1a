"""NumPy's BLAS kept to the calling thread: the frame server already has a thread for every core."""

import contextlib
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

__all__ = ["one_blas_thread"]

_LOCK = threading.Lock()
_INSIDE: list[Any] = []


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    # Looking for the libraries takes some milliseconds.
    return ThreadpoolController()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread for as long as any thread is in here; the limit is one for the whole process."""
    with _LOCK:
        if not _INSIDE:
            _take_over()
            _INSIDE.append(_controller().limit(limits=1, user_api="blas"))
        _INSIDE.append(None)
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE.pop()
            if len(_INSIDE) == 1:
                _take_over()
                _INSIDE.pop().restore_original_limits()


def _take_over() -> None:
    """Let this thread set limits: newer versions of threadpoolctl heed the first that does, and no other."""
    for library in _controller().lib_controllers:
        release = getattr(library, "clear_controlling_thread", None)
        if release is not None:
            release(force=True)
