"""Target policies that the decision log alone can play, one file each; the file's name is the word for `--target`."""
