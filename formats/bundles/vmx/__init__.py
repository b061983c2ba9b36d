"""VMware machines as their own folder has them: a .vmx beside its disks."""
