"""Programs that stand in for the outside world in `make up`, in Compose and in tests."""
