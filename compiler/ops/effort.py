"""How long operations take, in multiply-adds of a product: estimates, by which work is cut into parts."""

from __future__ import annotations

# An element of any other operation.
ELEMENT = 8
# An element of a matrix that has to come from memory.
FROM_MEMORY = 64
