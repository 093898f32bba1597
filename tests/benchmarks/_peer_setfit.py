"""Runs in an environment of its own: SetFit 1.2 learns the job on standard input; prints classes and seconds as JSON.

Its defaults but for `num_iterations`, the paper's 20: all pairs of 500 labels would take hours.
"""

import json
import sys
import tempfile
import time
from importlib import metadata

from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

job = json.load(sys.stdin)
model = SetFitModel.from_pretrained(job["encoder"], labels=list(range(job["classes"])))
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder, num_iterations=20, seed=job["seed"], report_to="none", save_strategy="no", show_progress_bar=False
    )
    rows = Dataset.from_dict({"text": job["texts"], "label": job["y"]})
    trainer = Trainer(model, arguments, train_dataset=rows)
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
found = model.predict(job["tested"], show_progress_bar=False)
versions = {name: metadata.version(name) for name in ("setfit", "sentence-transformers", "transformers", "torch")}
print("\n" + json.dumps({"classes": [int(one) for one in found], "seconds": round(seconds, 1), "versions": versions}))
