"""Students of images: models, their training, what is measured of them."""
