"""What runs: programs, training, ONNX files, servers, and what is written to disk."""

import os

# From 1.29 on ONNX Runtime reports its use to its makers and keeps an identifier in the user's cache, unless it is told
# not to before it is imported: https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md. Networks and data of
# others are no business of theirs; who wants to report sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
