"""CFG012: a library call with an argument that the library does not take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from mldiag.api import Evidence, Finding, Fix, LoggedFailures, Program, Severity, rule

_TORCH_LOSS = {"from_logits": "it always takes logits", "class_weight": "weight"}
_TORCH_RNN = {
    "units": "hidden_size", "hidden_dim": "hidden_size", "hidden_units": "hidden_size", "input_dim": "input_size",
    "return_sequences": "every step is returned", "return_state": "the state is returned",
    "recurrent_dropout": "dropout, between layers",
}  # fmt: skip
_TORCH_OPTIMIZER = {"learning_rate": "lr", "clipnorm": "torch.nn.utils.clip_grad_norm_"}
_KERAS_LOSS = {
    "weight": "class_weight of fit",
    "class_weight": "class_weight of fit",
    "pos_weight": "class_weight of fit",
}
_KERAS_RNN = {
    "hidden_size": "units", "input_size": "the input's last dimension", "num_layers": "one layer for each",
    "batch_first": "the batch always comes first", "bidirectional": "layers.Bidirectional",
}  # fmt: skip
_KERAS_OPTIMIZER = {
    "betas": "beta_1 and beta_2",
    "eps": "epsilon",
    "params": "the model gives them",
    "max_grad_norm": "clipnorm",
}

NOT_TAKEN: Mapping[str, Mapping[str, str]] = {
    "torch.nn.CrossEntropyLoss": {
        **_TORCH_LOSS, "pos_weight": "weight", "smoothing": "label_smoothing", "ignore_class": "ignore_index",
    },
    "torch.nn.functional.cross_entropy": {
        **_TORCH_LOSS, "pos_weight": "weight", "smoothing": "label_smoothing", "ignore_class": "ignore_index",
    },
    "torch.nn.NLLLoss": {"label_smoothing": "CrossEntropyLoss(label_smoothing=)", **_TORCH_LOSS},
    "torch.nn.BCELoss": {
        **_TORCH_LOSS, "pos_weight": "BCEWithLogitsLoss(pos_weight=)", "label_smoothing": "smoothed targets",
        "ignore_index": "weight",
    },
    "torch.nn.BCEWithLogitsLoss": {
        **_TORCH_LOSS, "label_smoothing": "smoothed targets", "ignore_index": "weight",
    },
    "torch.nn.functional.binary_cross_entropy": {
        **_TORCH_LOSS, "pos_weight": "binary_cross_entropy_with_logits(pos_weight=)",
        "label_smoothing": "smoothed targets",
    },
    "torch.nn.LSTM": _TORCH_RNN,
    "torch.nn.GRU": _TORCH_RNN,
    "torch.nn.RNN": _TORCH_RNN,
    "torch.nn.Embedding": {
        "input_dim": "num_embeddings", "output_dim": "embedding_dim", "vocab_size": "num_embeddings",
        "embed_dim": "embedding_dim", "mask_zero": "padding_idx", "input_length": "no length is needed",
    },
    "torch.nn.Linear": {
        "units": "out_features", "input_dim": "in_features", "output_dim": "out_features", "use_bias": "bias",
        "activation": "a layer of its own",
    },
    "torch.nn.Conv2d": {
        "filters": "out_channels", "strides": "stride", "input_shape": "in_channels",
        "activation": "a layer of its own",
    },
    "torch.nn.Dropout": {"rate": "p"},
    "torch.nn.LayerNorm": {"epsilon": "eps", "axis": "normalized_shape"},
    "torch.nn.MultiheadAttention": {
        "key_dim": "embed_dim / num_heads is the head width", "d_model": "embed_dim", "nhead": "num_heads",
        "n_heads": "num_heads", "n_head": "num_heads",
    },
    "torch.nn.TransformerEncoderLayer": {
        "num_heads": "nhead", "embed_dim": "d_model", "n_heads": "nhead", "d_ff": "dim_feedforward",
        "ff_dim": "dim_feedforward", "num_layers": "TransformerEncoder(num_layers=)",
    },
    "torch.nn.TransformerEncoder": {
        "nhead": "TransformerEncoderLayer(nhead=)", "d_model": "TransformerEncoderLayer(d_model=)",
    },
    "torch.optim.SGD": {**_TORCH_OPTIMIZER, "betas": "momentum", "eps": "plain SGD has none"},
    "torch.optim.Adam": {**_TORCH_OPTIMIZER, "momentum": "betas"},
    "torch.optim.AdamW": {**_TORCH_OPTIMIZER, "momentum": "betas"},
    "torch.optim.RMSprop": {**_TORCH_OPTIMIZER, "betas": "alpha", "rho": "alpha"},
    "torch.optim.lr_scheduler.CosineAnnealingLR": {
        "T_0": "CosineAnnealingWarmRestarts(T_0=)", "T_mult": "CosineAnnealingWarmRestarts(T_mult=)",
        "total_steps": "T_max", "num_training_steps": "T_max", "warmup_steps": "LinearLR before it, in SequentialLR",
        "num_warmup_steps": "LinearLR before it, in SequentialLR",
    },
    "keras.losses.SparseCategoricalCrossentropy": {
        **_KERAS_LOSS, "label_smoothing": "CategoricalCrossentropy with one-hot targets",
        "ignore_index": "ignore_class", "sample_weight": "sample_weight of fit",
        "num_classes": "the output's last dimension",
    },
    "keras.losses.sparse_categorical_crossentropy": {
        "label_smoothing": "categorical_crossentropy with one-hot targets", "ignore_index": "ignore_class",
    },
    "keras.losses.CategoricalCrossentropy": {**_KERAS_LOSS, "ignore_index": "sample_weight"},
    "keras.losses.BinaryCrossentropy": {**_KERAS_LOSS, "ignore_index": "sample_weight"},
    "keras.layers.LSTM": _KERAS_RNN,
    "keras.layers.GRU": _KERAS_RNN,
    "keras.layers.Embedding": {
        "num_embeddings": "input_dim", "vocab_size": "input_dim", "embedding_dim": "output_dim",
        "padding_idx": "mask_zero",
    },
    "keras.layers.Dense": {"in_features": "the input's last dimension", "out_features": "units", "bias": "use_bias"},
    "keras.layers.Dropout": {"p": "rate"},
    "keras.layers.MultiHeadAttention": {"embed_dim": "key_dim, of one head", "d_model": "key_dim, of one head"},
    "keras.callbacks.EarlyStopping": {
        "save_best_only": "ModelCheckpoint(save_best_only=)", "restore_best": "restore_best_weights",
        "metric": "monitor",
    },
    "keras.optimizers.SGD": {**_KERAS_OPTIMIZER, "beta_1": "momentum"},
    "keras.optimizers.Adam": {**_KERAS_OPTIMIZER, "momentum": "beta_1"},
    "keras.optimizers.AdamW": {**_KERAS_OPTIMIZER, "momentum": "beta_1"},
    "transformers.TrainingArguments": {
        "lr": "learning_rate", "epochs": "num_train_epochs", "num_epochs": "num_train_epochs",
        "batch_size": "per_device_train_batch_size", "early_stopping_patience": "EarlyStoppingCallback",
        "patience": "EarlyStoppingCallback", "gradient_clip_val": "max_grad_norm",
    },
    "sklearn.model_selection.train_test_split": {
        "seed": "random_state", "val_size": "test_size", "split": "test_size", "stratified": "stratify",
    },
    "sklearn.linear_model.LogisticRegression": {
        "lr": "no learning rate is needed", "learning_rate": "no learning rate is needed", "epochs": "max_iter",
    },
}  # fmt: skip
"""Class or function → arguments that people write for another library and this one refuses → what to write instead.

Only arguments that no released version of the library has taken, by the signatures in its documentation; those that a
version dropped or added (`Adam(lr=)`, `TrainingArguments(evaluation_strategy=)`) are left out."""

_UP_TO = {
    ("keras.losses.SparseCategoricalCrossentropy", "label_smoothing"): "Keras 3.15",
    ("keras.losses.sparse_categorical_crossentropy", "label_smoothing"): "Keras 3.15",
}
"""Arguments that a later version takes: keras-team/keras pull request 23488 (merged August 2026) adds smoothing to the
sparse loss; the documentation of TensorFlow 2.10-2.14 and of Keras 3.15.1 has none."""

_FORMER = frozenset({
    "verbose", "lr", "decay", "clipnorm", "clipvalue", "period", "options", "load_weights_on_restart", "write_grads",
    "embeddings_layer_names", "epsilon", "every_n_val_epochs", "size_average", "reduce", "name", "dtype", "device",
})  # fmt: skip
"""Arguments that earlier versions of a library took somewhere, or others take everywhere."""
_STABLE = ("torch.nn.", "torch.optim.", "torch.utils.data.", "keras.losses.", "keras.metrics.")
"""Modules that lose arguments rarely, so that one which the present version lacks is most likely none of any version's.
Elsewhere (transformers, scikit-learn, Lightning) arguments come and go, and only misspelt ones are certain."""
NEAR = 0.88
"""Likeness (`difflib`) from which a name is another one misspelt: `weigth_decay` has 0.92. Arguments that were renamed
are further apart: `evaluation_strategy` and `eval_strategy` 0.81."""
_TABLES = ("torch", "keras", "transformers", "sklearn", "lightning")

_KERAS = ("tensorflow.keras.", "tf_keras.", "tensorflow.python.keras.", "keras.api.")
_LIGHTNING = ("pytorch_lightning.",)
_KERAS_ALIASES = ("tensorflow.losses.", "tensorflow.optimizers.")


@rule("CFG012", severity="error", pre=True, explains=("RUN006",))
def unsupported_argument(program: Program, failures: LoggedFailures | None) -> Iterator[Finding]:
    """A library was called with an argument that it does not take.

    ## What it checks
    Calls of PyTorch, Keras, Hugging Face, scikit-learn and Lightning with arguments that they do not take. First a
    table of confusions between libraries, such as `SparseCategoricalCrossentropy(label_smoothing=0.1)` or
    `torch.optim.AdamW(learning_rate=1e-4)`, which no released version takes. Then the signatures of some 900 classes
    and functions, generated from one version of each library that the message names: an argument that is nearly the
    name of one they take (`weigth_decay`) is an error; in the losses, layers and optimizers of PyTorch and the losses
    and metrics of Keras any other unknown one is a warning. What takes `**kwargs` is left alone. Names are followed
    through the imports, so that a class of one's own with the same name is not meant.

    ## Why it matters
    The call ends in a TypeError, often only when the model is compiled, after the data was prepared; or the correction
    of an earlier run, copied from advice for another library, never starts.

    ## Inputs
    The calls in the source, with their keyword arguments; a failure in the log that names the argument.

    ## Fix
    Only shown, with the argument that the library takes instead: the value often means something else there.

    ## When to ignore
    A patched or newer version of the library that takes the argument.

    ## Source
    Signatures in the documentation of PyTorch 2, TensorFlow 2.10-2.14, Keras 3.15.1, transformers and scikit-learn.
    Keras' sparse loss takes no `label_smoothing` up to 3.15; a later version does (keras-team/keras, pull 23488).
    The generated table: `benchmarks/build_signature_table.py` on torch 2.13.0, keras 3.15.1, transformers 5.23.0,
    scikit-learn 1.9.1, lightning 2.6.6. None of the sources of 380 labelled runs has such a call; of 4,549 sources of
    installed libraries one has two, `nn.Linear(params_dtype=)` and `nn.LayerNorm(params_dtype=)`, which do fail.
    """
    for source in program.sources:
        for call in source.calls:
            name = _canonical(call.resolved)
            refused = NOT_TAKEN.get(name, {})
            for argument in call.keywords:
                at = call.where.get(argument, call.source)
                if argument in refused:
                    library = _UP_TO.get((name, argument), "")
                    yield Finding(
                        f"{call.name} was called with {argument}, an argument that it does not take"
                        + (f" up to {library}" if library else ""),
                        at=at,
                        evidence=(
                            Evidence("argument", argument, at=at),
                            Evidence("arguments not taken", sum(k in refused for k in call.keywords), 0, call.source),
                        ),
                        fix=Fix.show(f"instead of {argument}: {refused[argument]}"),
                        explains=_ended_by(argument, failures),
                    )
                elif (found := _missing(name, argument)) is not None:
                    library, near = found
                    yield Finding(
                        f"{call.name} was called with {argument}, an argument that it does not take in {library}"
                        + (f"; {near} is the nearest" if near else ""),
                        at=at,
                        evidence=(Evidence("argument", argument, at=at), Evidence("signature of", library)),
                        severity=None if near else Severity.WARNING,
                        fix=Fix.show(f"write {near}" if near else f"leave {argument} out, or use what takes it"),
                        explains=_ended_by(argument, failures),
                    )


def _ended_by(argument: str, failures: LoggedFailures | None) -> tuple[str, ...]:
    """RUN006 where a failure in the log names the argument: another one has another cause."""
    said = ("unexpected keyword argument", f"'{argument}'")
    return ("RUN006",) if any(all(words in f.message for words in said) for f in failures or ()) else ()


def _missing(name: str, argument: str) -> tuple[str, str] | None:
    """Library with version and the nearest argument, where a callable is known and takes none of that name."""
    taken, library = _signatures(name.split(".")[0])
    known = taken.get(name)
    if known is None or argument in (words := known.split()) or argument in _FORMER:
        return None
    import difflib

    near = next(iter(difflib.get_close_matches(argument, words, 1, NEAR)), "")
    return (library, near) if near or name.startswith(_STABLE) else None


@cache
def _signatures(library: str) -> tuple[Mapping[str, str], str]:
    """Callable → arguments, as they were listed by `benchmarks/build_signature_table.py`; and of which version."""
    if library not in _TABLES:
        return {}, ""
    import json

    table = json.loads((Path(__file__).parent / "signatures" / f"{library}.json").read_text(encoding="utf-8"))
    return table["takes"], f"{table['library']} {table['version']}"


def _canonical(resolved: str) -> str:
    """The name under which the table has a call: Keras is one library under several names."""
    for prefix in _KERAS:
        if resolved.startswith(prefix):
            return "keras." + resolved.removeprefix(prefix)
    if resolved.startswith(_KERAS_ALIASES):
        return "keras." + resolved.removeprefix("tensorflow.")
    for prefix in _LIGHTNING:
        if resolved.startswith(prefix):
            return "lightning.pytorch." + resolved.removeprefix(prefix)
    return resolved
