"""Packages: what they need, put together into one root, as data."""
