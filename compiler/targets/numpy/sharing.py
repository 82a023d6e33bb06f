"""What is worth sharing: into how many parts work is cut, which several processes or threads may do.

How many parts there are does not depend on who does them, so that results don't either.
"""

from __future__ import annotations

# The least work of a part, in multiply-adds, for work cut into so many, most first. In four parts NumPy's calls are
# shorter, which costs most where they are short already; two of little work are not worth the microseconds that it
# takes to tell others of them.
LEAST_WORK = {4: 200_000_000, 2: 2_000_000}


def parts_of_work(work: int) -> int:
    """Into how many parts so many multiply-adds are cut; 1 where they are not."""
    return next((count for count, least in LEAST_WORK.items() if work >= count * least), 1)
