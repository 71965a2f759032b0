"""What runs of image classification leave behind."""
