"""Vagrant boxes: a machine's disks, packed for one of many hypervisors."""
