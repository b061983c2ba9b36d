"""Secrets in a tree: found by path, line and kind before anything is written, never shown."""
