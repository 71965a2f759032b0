"""The losses of students, one file each: fairseq criterions."""
