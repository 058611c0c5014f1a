"""Training of the alignment network: ``python -m vs_align.train.flow --config small``."""
