"""ONNX files: certified, shipped, and run in ONNX Runtime."""
