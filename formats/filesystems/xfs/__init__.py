"""XFS, version 4 and version 5 (with checksums)."""
