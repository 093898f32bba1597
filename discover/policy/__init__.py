"""Which question is worth asking, judged offline: estimators, their intervals, and whether to believe them."""
