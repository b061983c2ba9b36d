"""Readers: bytes in, volumes or one normalised tree out. Knows nothing of OCI."""
