"""Training students of images."""
