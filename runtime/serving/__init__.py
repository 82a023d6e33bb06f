"""ONNX files behind the Open Inference Protocol: requests, batches of them, the application and its process."""
