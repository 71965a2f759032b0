"""Teachers: from the student's progress to coefficients."""
