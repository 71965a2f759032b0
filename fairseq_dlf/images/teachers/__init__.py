"""Teaching on images."""
