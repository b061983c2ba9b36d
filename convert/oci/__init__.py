"""OCI images: from committed layers to a layout or an archive, and back for verification.

What is written follows the OCI image specification 1.1 (github.com/opencontainers/image-spec);
how destinations are named follows containers-transports(5).
"""
