"""Decoding single compressed blocks, for disks and filesystems alike."""
