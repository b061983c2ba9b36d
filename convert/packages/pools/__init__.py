"""What is in a pool of packages: repositories of apt and dnf, and package files by themselves."""
