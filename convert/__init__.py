"""Artifacts in, OCI images out."""
