"""Recipes for the images that tests, demo and benchmarks read; nothing binary is kept here."""
