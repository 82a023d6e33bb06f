"""The operations: one class each, with every facet in it. Importing this package fills the registry."""

from compiler.ops.base import FacetError, Op, has_facet, operation, registry, without
from compiler.ops.batch_norm import BatchNorm
from compiler.ops.chain import ElementwiseChain, Step
from compiler.ops.conv import Conv, ConvTranspose, ConvWeight
from compiler.ops.emit import Emit
from compiler.ops.group_norm import GroupNorm
from compiler.ops.layer_norm import LayerNorm, RmsNorm
from compiler.ops.linear import Linear
from compiler.ops.running_norm import RunningNorm

__all__ = [
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "ConvWeight",
    "ElementwiseChain",
    "Emit",
    "FacetError",
    "GroupNorm",
    "LayerNorm",
    "Linear",
    "Op",
    "RmsNorm",
    "RunningNorm",
    "Step",
    "has_facet",
    "operation",
    "registry",
    "without",
]
