"""The reader of EROFS, the enhanced read-only filesystem."""
