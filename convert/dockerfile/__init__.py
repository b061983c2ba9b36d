"""A system as a Dockerfile: what was asked for and what was changed, on the official image."""
