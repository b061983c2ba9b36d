"""Virtual PC, Virtual Server and Hyper-V generation 1 disks (VHD)."""
