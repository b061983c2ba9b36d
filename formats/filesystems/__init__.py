"""Filesystems: a block device that holds a tree."""
