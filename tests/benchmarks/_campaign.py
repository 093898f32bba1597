"""Runs in a peer's environment: the campaign that it is asked for, and what it answers.

The campaign is a JSON object on standard input: `file` holds the pool's `vectors` (n, d) and classes `y` (n,), and
`tested` (k, d) and `truth` (k,); `seeds` are the rows that are labelled first, in this order.
"""

import json
import sys
import time
import warnings
from importlib import metadata

import numpy as np

warnings.filterwarnings("ignore")


class Campaign:
    """What is played, and the accuracy so far."""

    def __init__(self):
        self.job = json.load(sys.stdin)
        arrays = np.load(self.job["file"])
        self.vectors, self.y, self.tested, self.truth = (arrays[key] for key in ("vectors", "y", "tested", "truth"))
        self.classes, self.seed = self.job["classes"], self.job["seed"]
        self.first = np.array(self.job["seeds"])
        self.labels, self.accuracy = [], []
        self.started = time.process_time()

    def left(self, labels):
        """How many to ask for next, at so many labels."""
        return min(self.job["batch"], self.job["budget"] - labels)

    def tested_with(self, labels, predicted):
        """Take down the (k,) predicted classes of the test documents after so many labels."""
        self.labels.append(labels)
        self.accuracy.append(round(float((predicted == self.truth).mean()), 4))

    def tell(self, *packages):
        """Print the figures: a line of JSON."""
        versions = {name: metadata.version(name) for name in packages}
        seconds = round(time.process_time() - self.started, 1)
        curve = {"labels": self.labels, "accuracy": self.accuracy}
        print("\n" + json.dumps({**curve, "seconds": seconds, "versions": versions}))
