"""Machines with several services: one image for each, over the same layers, and a compose file."""
