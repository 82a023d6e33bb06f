"""Benchmarks belong to the repository and are not installed: they are imported from there, everything else is not."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
