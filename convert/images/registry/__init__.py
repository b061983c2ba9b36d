"""A client of registries (distribution-spec) that reads images."""
