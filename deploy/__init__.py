"""What it takes to run the product: the image, private servers for a laptop, demo programs."""
