"""Many pairs at once, or a long film in chunks, on Dask: what ``vs-align batch`` is made of."""
