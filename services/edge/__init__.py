"""The door: who calls, may they, and carrying bytes back."""
