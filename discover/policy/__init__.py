"""The acquisition policy: which question is worth asking, learned; and judged offline before it is let near people."""
