"""RPM packages: what their headers say, and their files.

::

    lead (96 bytes) | signature header | header | payload: cpio, compressed
                                                     ▲
      digests and signatures of header and payload ──┘

Specifications: rpm.org "V3/V4/V6 Package format", "Header Format", "Tag Listing"; LSB 4.1, "Package
File Format"; rpm-version(7). Nothing here is run, and no signature is trusted: there is no keyring.
"""
