"""The script that runs the ONNX project's tests, as a fixture: it runs imported graphs for other tests too."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def backend() -> ModuleType:
    """``backend.py`` beside this file."""
    spec = importlib.util.spec_from_file_location("onnx_backend", Path(__file__).with_name("backend.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
