"""Rules of when to stop asking, one file each; the file's name is the word used in a config.

A rule is asked before each round, the first one too: `progress.rounds` is empty then.
"""
