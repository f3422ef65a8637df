"""Federated nnU-Net: hospitals share sums, never cases.

The verbs are loaded when they are first used, so that `import fednnunet` loads neither torch nor
any image library:

    import fednnunet

    fednnunet.plan("federation.toml", "run")
    fednnunet.train("run")
    fednnunet.predict("run/global", images="images", output="masks")
    fednnunet.evaluate("masks", "labels")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fednnunet.version import VERSION

if TYPE_CHECKING:
    from fednnunet.api.evaluate import evaluate
    from fednnunet.api.interop import export_model, import_model
    from fednnunet.api.plan import plan
    from fednnunet.api.predict import PredictOptions, Predictor, load_bundle, predict
    from fednnunet.api.register import register_method, register_recipe
    from fednnunet.api.train import train
    from fednnunet.federation.spec import read_federation

__version__ = VERSION

__all__ = [
    "PredictOptions",
    "Predictor",
    "__version__",
    "evaluate",
    "export_model",
    "import_model",
    "load_bundle",
    "plan",
    "predict",
    "read_federation",
    "register_method",
    "register_recipe",
    "train",
]

_MODULES = {
    "PredictOptions": "fednnunet.api.predict",
    "Predictor": "fednnunet.api.predict",
    "evaluate": "fednnunet.api.evaluate",
    "export_model": "fednnunet.api.interop",
    "import_model": "fednnunet.api.interop",
    "load_bundle": "fednnunet.api.predict",
    "plan": "fednnunet.api.plan",
    "predict": "fednnunet.api.predict",
    "read_federation": "fednnunet.federation.spec",
    "register_method": "fednnunet.api.register",
    "register_recipe": "fednnunet.api.register",
    "train": "fednnunet.api.train",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
