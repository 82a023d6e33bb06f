"""Smaller files: f16 and 8-bit versions of a network, judged by what its train block measures."""
