"""Files that runs of image classification write: records, signatures, Φ along a run."""
