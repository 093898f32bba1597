"""What the longer commands do; each file is one command, started by `discover.cli`."""
