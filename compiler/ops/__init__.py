"""The operations: one class each, with every facet in it. Importing this package fills the registry."""

from compiler.ops.attention import Attention, AttentionTraining
from compiler.ops.avg_pool import AvgPool, AvgPoolGradient
from compiler.ops.base import FacetError, Op, has_facet, operation, registry, without
from compiler.ops.batch_norm import BatchNorm
from compiler.ops.chain import ElementwiseChain, Step
from compiler.ops.conv import Conv, ConvTranspose, ConvWeight
from compiler.ops.ctc import Ctc, CtcGradient
from compiler.ops.each import CropEach, FlipEach, PasteEach
from compiler.ops.emit import Emit
from compiler.ops.extend import Extend, ExtendGradient
from compiler.ops.group_norm import GroupNorm
from compiler.ops.gru import Gru, GruTraining
from compiler.ops.gru_gradient import GruGradient
from compiler.ops.joint_step import JointStep
from compiler.ops.layer_norm import LayerNorm, RmsNorm
from compiler.ops.linear import Linear
from compiler.ops.logistic_loss import LogisticLoss
from compiler.ops.lstm import Lstm, LstmTraining
from compiler.ops.lstm_gradient import LstmGradient
from compiler.ops.pool import MaxPool, MaxPoolGradient, MaxPoolTraining
from compiler.ops.resize import Resize, ResizeGradient
from compiler.ops.rnn import Rnn, RnnGradient
from compiler.ops.running_norm import RunningNorm
from compiler.ops.scalar_steps import ScalarSteps
from compiler.ops.short_conv import ShortConv, ShortConvTranspose, ShortConvWeight
from compiler.ops.sum_product import SumProduct
from compiler.ops.weight_step import WeightStep

__all__ = [
    "Attention",
    "AttentionTraining",
    "AvgPool",
    "AvgPoolGradient",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "ConvWeight",
    "CropEach",
    "Ctc",
    "CtcGradient",
    "ElementwiseChain",
    "Emit",
    "Extend",
    "ExtendGradient",
    "FacetError",
    "FlipEach",
    "GroupNorm",
    "Gru",
    "GruGradient",
    "GruTraining",
    "JointStep",
    "LayerNorm",
    "Linear",
    "LogisticLoss",
    "Lstm",
    "LstmGradient",
    "LstmTraining",
    "MaxPool",
    "MaxPoolGradient",
    "MaxPoolTraining",
    "Op",
    "PasteEach",
    "Resize",
    "ResizeGradient",
    "RmsNorm",
    "Rnn",
    "RnnGradient",
    "RunningNorm",
    "ScalarSteps",
    "ShortConv",
    "ShortConvTranspose",
    "ShortConvWeight",
    "Step",
    "SumProduct",
    "WeightStep",
    "has_facet",
    "operation",
    "registry",
    "without",
]
