"""The order in which passes run: one list for each stage on the way from the front end to a target."""

from __future__ import annotations

from compiler.passes.activate_last import ActivateLast
from compiler.passes.base import Pass
from compiler.passes.cse import CommonSubexpressions
from compiler.passes.dead import DeadCode
from compiler.passes.flat_rows import FlatRows
from compiler.passes.fold import FoldConstants
from compiler.passes.fold_norm import FoldNorm
from compiler.passes.fold_padding import FoldPadding
from compiler.passes.fold_scale import FoldScale
from compiler.passes.fold_tables import FoldTables
from compiler.passes.fuse_elementwise import FuseElementwise
from compiler.passes.fuse_linear import FuseLayers, FuseLinear
from compiler.passes.fuse_scalars import FuseScalars
from compiler.passes.fuse_sums import FuseSums
from compiler.passes.join_slices import JoinSlices
from compiler.passes.join_steps import JoinSteps
from compiler.passes.pipeline import Pipeline
from compiler.passes.pool_first import PoolFirst
from compiler.passes.scale_queries import ScaleQueries
from compiler.passes.share_gelu import ShareGelu
from compiler.passes.share_pool import SharePool
from compiler.passes.short_convolutions import ShortConvolutions
from compiler.passes.simplify import DropStopGradient, Simplify
from compiler.passes.sink_transpose import SinkTranspose
from compiler.passes.split_products import SplitProducts
from compiler.passes.stable import Stabilize

# What the front end wrote, before gradients are made of it. Common subexpressions come early, as rules tell by them
# whether a value meets itself; stable forms leave something to simplify again.
COMMON: tuple[Pass, ...] = (
    FoldConstants(),
    CommonSubexpressions(),
    Simplify(),
    Stabilize(),
    Simplify(),
    CommonSubexpressions(),
    DeadCode(),
)

# A loss on its way to a training step, before it gets gradients.
LOSS: tuple[Pass, ...] = (*COMMON, PoolFirst(), FuseLayers())

# A training step, once it has gradients and updates.
TRAIN: tuple[Pass, ...] = (
    DropStopGradient(),
    ShareGelu(),
    SharePool(),
    FoldConstants(),
    CommonSubexpressions(),
    Simplify(),
    ShortConvolutions(),
    CommonSubexpressions(),
    DeadCode(),
)

# What becomes a NumPy program, before it is cut into stages.
WHOLE: tuple[Pass, ...] = (DropStopGradient(), FuseLinear())

# What becomes a NumPy program, or a stage of one.
NUMPY: tuple[Pass, ...] = (
    *WHOLE,
    FuseSums(),
    FuseElementwise(),
    FuseScalars(),
    JoinSteps(),
    DeadCode(),
)

# What becomes an ONNX file.
ONNX: tuple[Pass, ...] = (
    DropStopGradient(),
    FoldNorm(),
    FoldPadding(),
    JoinSlices(),
    FoldScale(),
    FoldTables(),
    SplitProducts(),
    ScaleQueries(),
    FuseLinear(),
    ActivateLast(),
    SinkTranspose(),
    FlatRows(),
    CommonSubexpressions(),
    DeadCode(),
)

__all__ = ["COMMON", "LOSS", "NUMPY", "ONNX", "TRAIN", "WHOLE", "Pass", "Pipeline"]
