"""Files: written whole or not at all, arrays and weights in them."""
