"""What tests share: oracles that nobody here wrote, and the way to compare with them."""
