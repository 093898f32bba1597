"""Estimators of a target policy's value, one file each; the file's name is the word used on the command line."""
