"""The NumPy target: graphs as one straight-line Python module that needs only NumPy."""

from compiler.targets.numpy.generate import generate, planned_memory, result_memory
from compiler.targets.numpy.stages import in_stages

__all__ = ["generate", "in_stages", "planned_memory", "result_memory"]
