"""Weights that other programs stored, brought into models: the files, what layers are called and laid out like there,
and the statement ``weights MODEL from FILE { … }``."""
