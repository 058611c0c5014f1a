"""``python -m vs_align`` is the command ``vs-align``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
