"""The source that trains, seen whole: what a rule may say is absent from a program."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Iterator
from functools import cached_property

from msgspec import Struct

from mldiag.artifacts import Call, Program, PythonSource, Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact

LIBRARIES = frozenset({
    "PIL", "accelerate", "albumentations", "apex", "attr", "bitsandbytes", "catboost", "chardet", "clearml", "click",
    "cv2", "datasets", "deepspeed", "dill", "docopt", "einops", "evaluate", "faiss", "fastai", "fire", "flash_attn",
    "flax", "gensim", "gin", "gym", "gymnasium", "h5py", "haiku", "huggingface_hub", "hydra", "imageio", "imblearn",
    "ipdb", "jax", "joblib", "jsonlines", "keras", "librosa", "lightgbm", "lightning", "loguru", "matplotlib",
    "mlflow", "msgpack", "neptune", "networkx", "nltk", "numba", "numpy", "omegaconf", "onnx", "optax", "optuna",
    "orjson", "packaging", "pandas", "peft", "plotly", "polars", "psutil", "pyarrow", "pydantic",
    "pytorch_lightning", "ray", "regex", "requests", "rich", "safetensors", "scipy", "seaborn", "sentence_transformers",
    "sentencepiece", "seqeval", "simplejson", "six", "skimage", "sklearn", "soundfile", "spacy", "tabulate",
    "tensorboard", "tensorboardX", "tensorflow", "tensorflow_addons", "tensorflow_datasets", "tensorflow_hub",
    "tensorflow_probability", "tensorflow_text", "termcolor", "tf_keras", "tiktoken", "timm", "tokenizers", "torch",
    "torch_geometric", "torchaudio", "torchmetrics", "torchtext", "torchvision", "tqdm", "transformers", "triton",
    "trl", "typing_extensions", "ujson", "ultralytics", "wandb", "xgboost", "yaml",
})  # fmt: skip
"""Modules that are certainly installed libraries and no part of the program. Any other import may be the program's own,
and what an unread part of it does is not known."""

_TRAINS = frozenset({
    "backward", "fit", "fit_generator", "train_on_batch", "apply_gradients", "minimize", "GradientTape", "train_step",
    "value_and_grad",
})  # fmt: skip
_FRAMEWORKS = frozenset({
    "torch", "tensorflow", "keras", "tf_keras", "jax", "flax", "transformers", "lightning", "pytorch_lightning",
    "fastai", "ultralytics", "sentence_transformers", "trl",
})  # fmt: skip


class TrainingSource(Struct, frozen=True, dict=True):
    """The sources of a program that trains a network.

    Attributes:
        sources: the launched program's source first, then the modules it may import.
    """

    sources: tuple[PythonSource, ...]

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        return tuple(c for s in self.sources for c in s.calls)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every identifier and attribute that is read anywhere, and the last part of every call."""
        return frozenset().union(*(s.names for s in self.sources), {c.last for c in self.calls})

    @cached_property
    def libraries(self) -> frozenset[str]:
        """Top-level names of the imported modules."""
        return frozenset(i.split(".")[0] for s in self.sources for i in s.imports)

    @property
    def place(self) -> Source:
        """Where training begins: the call that trains, else the program's file."""
        return next((c.source for c in self.calls_to(*_TRAINS)), Source(self.sources[0].path))

    def calls_to(self, *last_names: str) -> Iterator[Call]:
        return (c for c in self.calls if c.last in last_names)


@fact
def training_source(program: Program) -> TrainingSource:
    """The sources, where one of them trains and no module of the program is missing."""
    if not program.sources:
        raise NotApplicable("no source of the training program was found")
    if program.launch is not None and program.main is None:
        raise NotApplicable(f"the source of {program.launch.program} was not found")
    ordered = sorted(program.sources, key=lambda s: s is not program.main)
    found = TrainingSource(tuple(ordered))
    if not found.libraries & _FRAMEWORKS:
        raise NotApplicable("the source imports no framework that trains networks")
    if not any(name in _TRAINS or name.endswith("Trainer") for name in found.names):
        raise NotApplicable("no source was found that trains")
    own = {posixpath.splitext(posixpath.basename(s.path))[0] for s in program.sources}
    own |= {part for s in program.sources for part in posixpath.dirname(s.path).split("/") if part}
    unread = sorted(i for i in found.libraries if i not in own | LIBRARIES | sys.stdlib_module_names)
    if unread:
        raise NotApplicable(f"the source imports {', '.join(unread)}, whose source was not found")
    return found
