"""Btrfs: a superblock, chunks of logical addresses on one or several devices, and trees of items.

Specification: "On-disk Format" (https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html),
btrfs(5), mkfs.btrfs(8), and the structures of ``linux/btrfs_tree.h``::

    superblock ─► chunks of the system ─► chunk tree ─► where every logical address is
               └► root tree ─► subvolumes ─► inodes, names, extents
                           └► checksum tree ─► every sector of data
               └► log tree ─► what fsync(2) wrote since the last commit
"""
