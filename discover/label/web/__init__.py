"""The labeling queue in a browser."""
