"""Hyper-V disks (VHDX)."""
