"""Training of embeddings: networks that make a vector of a frame."""
