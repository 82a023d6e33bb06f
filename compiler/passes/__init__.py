"""Passes: graph to graph. ``order`` lists them as they run."""
