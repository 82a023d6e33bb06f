"""Metrics: figures over a whole data set, made of sums that add up over batches."""

from compiler.front.catalogue.metrics import classes, ranking, regression

__all__ = ["classes", "ranking", "regression"]
