"""Labels to model: the modAL learner, incremental fine-tuning, calibration, the model registry."""
