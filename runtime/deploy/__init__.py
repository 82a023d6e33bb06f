"""Folders that other servers and browsers run a model from."""
