"""Rules of when to stop asking, one file each; the file's name is the word used in a config."""
