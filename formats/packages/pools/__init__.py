"""Indexes of many packages: what a repository says that it has."""
