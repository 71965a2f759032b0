"""What teachers have learnt, in words and figures, and training curves."""
