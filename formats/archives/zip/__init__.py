"""Zip archives.

Specification: PKWARE APPNOTE 6.3.10 (.ZIP File Format Specification); Info-ZIP's ``extrafld.txt``
for what Unix adds.
"""
