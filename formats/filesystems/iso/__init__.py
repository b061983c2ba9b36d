"""ISO 9660 with its extensions: Rock Ridge, Joliet, zisofs, AAIP, El Torito."""
