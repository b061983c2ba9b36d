"""Where RAID levels put the chunks of a volume, for Linux RAID (md) and for LVM, which uses it.

Written from md(4) and the kernel's documentation of md and dm-raid, and held against arrays that
the kernel made. Only data is read here, never parity: a level with parity needs all of its data
members.
"""
