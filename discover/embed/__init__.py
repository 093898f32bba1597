"""Documents to vectors: the encoder, the memory-mapped vector store, the FAISS index."""
