"""Model files as programs, and their NumPy modules run."""
