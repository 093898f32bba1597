"""Strategies and learners compared on labelled files: campaigns as cells, played by several processes, summed up."""
