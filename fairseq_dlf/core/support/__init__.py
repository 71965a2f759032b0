"""What every part of the package needs: files, seeds, sizes, signatures, the processes of a run."""
