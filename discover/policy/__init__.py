"""The acquisition policy: which question is worth asking, learned; its training, and its place in the loop."""
