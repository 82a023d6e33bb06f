"""What layers and functions are called in other libraries, where that is nowhere near their names here."""

ELSEWHERE = {
    "Linear": "dense",
    "linear": "dense",
    **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d", "Conv1D", "Conv2D", "Conv3D", "conv2d"), "conv"),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "BatchNormalization"), "batch_norm"),
    **dict.fromkeys(("MaxPool1d", "MaxPool2d", "MaxPooling2D"), "max_pool"),
    **dict.fromkeys(("AvgPool2d", "AveragePooling2D", "AvgPool1d"), "avg_pool"),
    **dict.fromkeys(("MultiheadAttention", "MultiHeadAttention"), "attention"),
    "LayerNormalization": "layer_norm",
    "Embedding": "embed",
    "view": "reshape",
    "cat": "concat",
    "permute": "transpose",
}
