"""Linux software RAID (md): members on one or several disks, given together, become an array.

Written from md(4), mdadm(8), the kernel's Documentation/admin-guide/md.rst and "RAID superblock
formats" of the Linux RAID wiki; held against arrays that the kernel made.

Read: superblocks 0.90, 1.0, 1.1 and 1.2; linear, RAID 0 (members of any sizes), RAID 1 and RAID 10
with members missing, RAID 4, 5 and 6 with all members. Refused by name: arrays that are being
reshaped, RAID 4 to 6 with members missing, arrays with a write journal, bad blocks that no other
member covers. Arrays whose metadata is that of a firmware (DDF, IMSM) are rows of
:mod:`formats.recognised`.
"""

from __future__ import annotations

from formats.volumes.mdraid.reader import READER, MdReader

__all__ = ["READER", "MdReader"]
