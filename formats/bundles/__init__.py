"""Wrappings around disks: compressed files, appliances, boxes."""
