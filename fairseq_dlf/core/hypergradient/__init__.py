"""The reverse pass: dΦ_t for any differentiable coefficients of a student's loss, in plain PyTorch."""
