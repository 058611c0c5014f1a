"""How good embeddings are: measures, each with the definition that it follows."""
