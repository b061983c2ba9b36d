"""LVM2: physical volumes on one or several disks, given together, become logical volumes.

Written from ``lvm.conf(5)`` (the text format), ``lvmsystemid(7)``, ``pvck(8)`` (which prints every
field of the headers), Red Hat's description of LVM metadata and the format document of libvslvm.

Read: linear, striped and mirrored volumes, all RAID types, the origins of old-style snapshots,
volumes that pvmove is moving, volumes of zeros. Everything else is named in its volume's problem:
thin, cached, VDO, integrity, snapshots, reshaping. LVM1 is a row of :mod:`formats.recognised`.
"""

from __future__ import annotations

from formats.volumes.lvm.reader import READER, LvmReader

__all__ = ["READER", "LvmReader"]
