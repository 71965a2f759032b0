"""Image classification taught by dynamic losses: the companion of `translation`, on the same core."""
