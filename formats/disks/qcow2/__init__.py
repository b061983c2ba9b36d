"""QEMU copy-on-write disks: :mod:`.header` parses, :mod:`.tables` maps, :mod:`.reader` opens."""
