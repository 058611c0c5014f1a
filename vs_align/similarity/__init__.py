"""How alike are two frames: one measure a file."""
