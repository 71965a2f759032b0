"""What the paper adds to the hypergradient: the dynamic loss, teachers, smoothed measures, progress."""
