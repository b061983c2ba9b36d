"""Packages: a description of what is in them and needed for them, and a tree."""
