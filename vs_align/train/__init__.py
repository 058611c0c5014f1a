"""Training and evaluation of the learned parts. Needs the extra "train"; nothing else of the package imports it."""
