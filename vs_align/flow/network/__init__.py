"""Engine "flow": a network and the torch twins of the steps around it. Torch is imported by the files in here alone."""
