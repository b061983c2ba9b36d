"""Recipes that need programs of the host; each makes one image, cached by its caller."""
