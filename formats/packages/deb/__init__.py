"""Packages of Debian and of what descends from it."""
