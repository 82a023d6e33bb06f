"""The NumPy target: graphs as one straight-line Python module that needs only NumPy."""

from compiler.targets.numpy.generate import generate, planned_memory

__all__ = ["generate", "planned_memory"]
