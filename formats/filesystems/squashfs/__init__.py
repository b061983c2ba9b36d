"""The reader of squashfs 4.0."""
