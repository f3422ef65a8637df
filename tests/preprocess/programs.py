"""The programs in `preprocessing/`, which are no package."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from tests.conftest import ROOT


def load_program(name: str) -> ModuleType:
    """Import `preprocessing/NAME.py` as a module, without running it."""
    path = ROOT / "preprocessing" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"preprocessing_{name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
