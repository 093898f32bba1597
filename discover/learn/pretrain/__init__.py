"""Pretraining: an encoder made for the pool, by masked-language-model training; continued, or from scratch."""
