"""The operations: one class each, with every facet in it. Importing this package fills the registry."""

from compiler.ops.base import FacetError, Op, has_facet, operation, registry, without
from compiler.ops.chain import ElementwiseChain, Step
from compiler.ops.emit import Emit
from compiler.ops.linear import Linear

__all__ = [
    "ElementwiseChain",
    "Emit",
    "FacetError",
    "Linear",
    "Op",
    "Step",
    "has_facet",
    "operation",
    "registry",
    "without",
]
