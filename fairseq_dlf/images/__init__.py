"""Image classification with dynamic losses, on the same core as `translation`."""
