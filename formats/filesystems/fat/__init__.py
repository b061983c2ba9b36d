"""FAT12, FAT16 and FAT32, with the long names of VFAT."""
