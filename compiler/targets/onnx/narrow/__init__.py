"""ONNX files made smaller: their layers, and weights and sums of these in 8 bits."""
