"""Teaching on images: lessons, settings, teacher files."""
