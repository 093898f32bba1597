"""How good, honestly: metrics, the audit sample, paired comparison, the report."""
