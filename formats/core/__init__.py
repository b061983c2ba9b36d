"""What every reader stands on: sources, entries, trees, the reader protocol, limits, errors."""
