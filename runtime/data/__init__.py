"""Data: read from files, split, cut into batches, checked against what takes it."""
