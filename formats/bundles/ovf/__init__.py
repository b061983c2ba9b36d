"""OVF packages: machines described by a descriptor beside their disks, or packed with them."""
