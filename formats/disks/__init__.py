"""Virtual disk formats: a file that holds a block device."""
