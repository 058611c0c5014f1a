"""From scores to frame numbers. NumPy only."""
