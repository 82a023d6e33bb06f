"""The networks of the workloads and of the examples, once in each framework."""
