"""`make image`: the container image, built by whatever builder there is. Standard library only."""
