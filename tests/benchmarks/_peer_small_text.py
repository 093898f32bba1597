"""Runs in an environment of its own: small-text 1.4.1 learns the job on standard input; prints classes and seconds.

Its defaults, with the job's learning rate; texts are padded to the longest of them, as its users do.
"""

import json
import random
import sys
import time
from importlib import metadata

import numpy as np
import torch
from small_text import TransformerBasedClassification, TransformerModelArguments, TransformersDataset
from transformers import AutoTokenizer

job = json.load(sys.stdin)
random.seed(job["seed"])
np.random.seed(job["seed"])  # noqa: NPY002 - the generator that small-text draws from
torch.manual_seed(job["seed"])
tokenizer = AutoTokenizer.from_pretrained(job["encoder"])
longest = max(map(len, tokenizer(job["texts"] + job["tested"])["input_ids"]))


def dataset(texts, y):
    labels = np.arange(job["classes"])
    return TransformersDataset.from_arrays(texts, y, tokenizer, target_labels=labels, max_length=min(256, longest))


peer = TransformerBasedClassification(
    TransformerModelArguments(job["encoder"]), job["classes"], lr=job["learning_rate"], device="cpu"
)
started = time.perf_counter()
peer.fit(dataset(job["texts"], np.array(job["y"])))
seconds = time.perf_counter() - started
found = peer.predict(dataset(job["tested"], np.zeros(len(job["tested"]), dtype=int)))
versions = {name: metadata.version(name) for name in ("small-text", "transformers", "torch")}
print("\n" + json.dumps({"classes": found.tolist(), "seconds": round(seconds, 1), "versions": versions}))
