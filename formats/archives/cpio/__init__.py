"""Cpio archives, among them the initramfs of Linux.

Specification: cpio(5); POSIX.1-1997 ``pax``, "cpio interchange format"; linux
Documentation/driver-api/early-userspace/buffer-format.rst.
"""
