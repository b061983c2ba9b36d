"""Which of an artifact's volumes is the root, and what it mounts."""
