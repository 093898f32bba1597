"""What a pick turned out to be worth, one rule a file; the file's name is the word used in a config."""
