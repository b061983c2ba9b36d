"""Archives, read as trees in place; nothing is unpacked."""
