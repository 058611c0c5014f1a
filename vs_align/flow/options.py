"""What is asked of an alignment."""

from dataclasses import dataclass

__all__ = ["AlignOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignOptions:
    """How two pictures are aligned.

    Attributes:
        precision: 1 to 4, finer and slower.
        iterations: how often the estimate is repeated on its own result.
        wide_search: look for a projective map first.
        lq_input: go by general shapes, not by noise and coding artefacts.
    """

    precision: int = 3
    iterations: int = 1
    wide_search: bool = False
    lq_input: bool = False
