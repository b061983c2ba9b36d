"""Shell scripts as text: what they say, followed without running any of it."""
