"""Embeddings of frames: similarity="embedding"."""
