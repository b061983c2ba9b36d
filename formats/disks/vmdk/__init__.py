"""VMware virtual disks (VMDK): the descriptor, and the kinds of extents it can be made of."""
