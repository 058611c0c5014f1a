"""What a worker process of our own does first."""

import logging
import os
import signal
from typing import Any

__all__ = ["dask_setup"]


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to who started it, and stdout to results; serve no pages."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    worker.http_server.stop()
