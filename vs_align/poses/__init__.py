"""People as joints: angles, how far apart two poses are, boxes that are followed. NumPy only."""
