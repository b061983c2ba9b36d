"""From a tree to the bytes of a layer: what fits, the tar encoder, compressors, the pump."""
