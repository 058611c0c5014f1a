"""Dense displacement between two images. NumPy and OpenCV alone; it knows nothing of VapourSynth."""
