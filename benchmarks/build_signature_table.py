"""Writes `plugins/mldiag_config/signatures/<library>.json`: what callables of installed libraries take, for CFG012.

Run with a Python that has the libraries (torch, keras, transformers, scikit-learn, lightning); those it lacks keep
their files. A callable that takes `**kwargs` is left out, since nothing says what it refuses.

    python benchmarks/build_signature_table.py
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

TARGET = Path(__file__).parent.parent / "plugins" / "mldiag_config" / "signatures"

# Library → distribution, and the modules whose public callables are listed, under the names that programs use.
LIBRARIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "torch": (
        "torch",
        ("torch.nn", "torch.nn.functional", "torch.nn.utils", "torch.optim", "torch.optim.lr_scheduler",
         "torch.utils.data", "torch.amp", "torch.nn.init"),
    ),
    "keras": (
        "keras",
        ("keras.layers", "keras.losses", "keras.optimizers", "keras.optimizers.schedules", "keras.callbacks",
         "keras.metrics", "keras.regularizers", "keras.initializers", "keras.utils"),
    ),
    "transformers": ("transformers", ("transformers",)),
    "sklearn": (
        "scikit-learn",
        ("sklearn.linear_model", "sklearn.ensemble", "sklearn.svm", "sklearn.model_selection", "sklearn.metrics",
         "sklearn.preprocessing", "sklearn.neural_network", "sklearn.neighbors", "sklearn.tree", "sklearn.naive_bayes",
         "sklearn.cluster", "sklearn.decomposition", "sklearn.feature_extraction.text", "sklearn.calibration"),
    ),
    "lightning": (
        "lightning",
        ("lightning.pytorch", "lightning.pytorch.callbacks", "lightning.pytorch.loggers"),
    ),
}  # fmt: skip

# Of transformers' thousands of names those that train.
_OF_TRANSFORMERS = ("TrainingArguments", "Trainer", "EarlyStoppingCallback", "DataCollator", "get_", "set_seed")
_MOST = 200
"""Arguments; what takes more is a generated configuration."""


def taken(value: object) -> list[str] | None:
    """The names of the arguments that a callable takes; None where it takes any."""
    try:
        # Of a class its `__init__`: a metaclass or `__new__` may hand everything on.
        signature = inspect.signature(value.__init__ if inspect.isclass(value) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    parameters = list(signature.parameters.values())
    if inspect.isclass(value):
        parameters = parameters[1:]
    if any(p.kind is p.VAR_KEYWORD for p in parameters) or len(parameters) > _MOST:
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def public(module: ModuleType, library: str) -> dict[str, list[str]]:
    """Name → arguments of the public callables of a module that are its own library's."""
    found = {}
    for name in sorted(dir(module)):
        if name.startswith("_") or (library == "transformers" and not _is_for_training(name)):
            continue
        try:
            value = getattr(module, name)
        except (ImportError, AttributeError, RuntimeError):
            continue
        own = str(getattr(value, "__module__", "")).split(".")[0] == library
        if own and callable(value) and not inspect.ismodule(value) and not inspect.isabstract(value):
            arguments = taken(value)
            if arguments:
                found[f"{module.__name__}.{name}"] = arguments
    return found


def _is_for_training(name: str) -> bool:
    return any(name.endswith(part) or name.startswith(part) for part in _OF_TRANSFORMERS)


def main() -> None:
    """Writes the file of each library that is installed."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    TARGET.mkdir(exist_ok=True)
    for library, (distribution, modules) in LIBRARIES.items():
        try:
            called: dict[str, list[str]] = {}
            for name in modules:
                called |= public(importlib.import_module(name), library)
            of = version(distribution)
        except (ImportError, PackageNotFoundError) as error:
            print(f"{library}: left as it is ({error})")
            continue
        table = {
            "library": distribution,
            "version": of.split("+")[0],
            "takes": {k: " ".join(v) for k, v in called.items()},
        }
        text = json.dumps(table, indent=0, ensure_ascii=False)
        (TARGET / f"{library}.json").write_text(text + "\n", encoding="utf-8")
        print(f"{library} {of}: {len(called):,} callables, {len(text) / 1000:,.0f} kB")


if __name__ == "__main__":
    main()
