"""Normalisation of rows: each row of elements is brought to mean 0 and variance 1, or to root mean square 1.

What a row is, the operation says: the last axes of a sample (layer_norm, rms_norm), or a group of channels with all
their places (group_norm, which with one channel to a group is instance normalisation).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compiler.ir.dims import Dim, equal, floor_divide, product, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.arrays import filled, number, row_major
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    Values,
    operation,
)
from compiler.ops.checks import listed, need_floats, need_one_dtype, normal_axis
from compiler.ops.expansion import expansion_of, lower_expansion
from compiler.ops.row_norm_gradient import RowNormGradient

if TYPE_CHECKING:
    from compiler.ir.graph import Value
    from compiler.ops.emit import Emit

F32 = DType.F32
N, T = symbol("N"), symbol("T")
SIZES = {"N": 3, "T": 4}
