"""The training loop, the folder that a run keeps things in, and what it shows and decides."""
