"""What to ask next: candidates from the index, strategies, acquisition with propensities, the decision log."""
