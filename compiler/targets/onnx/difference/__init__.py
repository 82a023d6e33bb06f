"""Two ONNX files side by side, without running them: what differs in structure and in weights."""
