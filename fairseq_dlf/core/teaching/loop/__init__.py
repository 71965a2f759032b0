"""The loop over teacher steps: lessons, updates of θ, validation, the log, collapses, resuming."""
