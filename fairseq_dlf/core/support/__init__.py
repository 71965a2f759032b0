"""What every part needs and no part owns: files, seeds, sizes, the processes of a run."""
