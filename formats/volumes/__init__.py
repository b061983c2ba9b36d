"""Partition tables and volume managers: a block device that holds more of them."""
