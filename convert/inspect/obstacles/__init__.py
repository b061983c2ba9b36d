"""What of a machine does not work in a container, or not by itself, and what to do instead."""
