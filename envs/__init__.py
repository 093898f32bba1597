"""Acquisition as a reinforcement-learning problem: Gymnasium environments with versioned ids.

``gymnasium.make("envs:discover/Labeling-v0")`` imports this module, which registers them.
"""

from gymnasium.envs.registration import register

register(
    "discover/Labeling-v0",
    entry_point="envs.labeling:Labeling",
    vector_entry_point="envs.vector:VectorLabeling",
)
register("discover/Batch-v0", entry_point="envs.batch:Batch")
