"""Graphs drawn: as text, and as layered SVG."""
