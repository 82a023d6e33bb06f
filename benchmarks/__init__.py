"""dlc side by side with PyTorch, Keras and JAX. Each command is a module: ``python -m benchmarks.training``."""
