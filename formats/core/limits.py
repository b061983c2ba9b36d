"""The limits on untrusted input, in one place.

Every value can be overridden by the caller; the defaults follow docs/security.md.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an input may ask of the machine. Sizes in bytes unless the name says otherwise."""

    nesting: int = 8
    """containers inside containers (box › ova › vmdk › gpt › lvm › ext4 is six)."""
    stacked_compression: int = 3
    """compressed streams directly inside one another."""
    backing_chain: int = 32
    """images that a snapshot may stand on."""
    total_output_bytes: int = 64 * GIB
    file_bytes: int = 32 * GIB
    """logical size of one file; holes count."""
    expansion_ratio: int = 1000
    expansion_grace_bytes: int = 256 * MIB
    """the ratio is only looked at once this much came out."""
    spool_bytes: int = 64 * GIB
    """temporary disk that one compressed disk image may take."""
    disk_virtual_bytes: int = 16 * TIB
    entries: int = 2_000_000
    folder_entries: int = 500_000
    name_bytes: int = 255
    path_bytes: int = 4096
    depth: int = 256
    symlink_target_bytes: int = 4095
    symlink_hops: int = 40
    xattrs_per_file: int = 128
    xattr_value_bytes: int = 64 * KIB
    cache_bytes: int = 16 * MIB
    """decoded clusters or grains kept in memory by one disk image."""
    replay_bytes: int = 512 * MIB
    """memory for what replaying a log changes, where a journal's blocks are not whole ones."""
    window_bytes: int = 128 * MIB
    """memory that one decompressor may ask for (lzma dictionary, zstd window)."""
    partitions: int = 256
    descriptor_bytes: int = 4 * MIB
    """text documents inside an input: vmdk descriptors, fstab, unit files."""


DEFAULT_LIMITS = Limits()
