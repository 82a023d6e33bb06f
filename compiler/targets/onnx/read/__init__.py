"""ONNX files in: loading with care, and reading operators into the graph. Imported late, as it imports onnx."""
