"""The libguestfs engine: whatever the native readers don't know, through a kernel in a machine.

Documentation of the library: guestfs(3), guestfs-python(3). How it fits together is in
``docs/decisions/007-the-libguestfs-engine.md``. Nothing here is imported before it is needed.
"""
