"""CFG012: a library call with an argument that the library does not take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mldiag.api import Evidence, Finding, Fix, Program, rule

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

_KERAS = ("tensorflow.keras.", "tf_keras.", "tensorflow.python.keras.", "keras.api.")
_KERAS_ALIASES = ("tensorflow.losses.", "tensorflow.optimizers.")


@rule("CFG012", severity="error", pre=True)
def unsupported_argument(program: Program) -> Iterator[Finding]:
    """A library was called with an argument that it does not take.

    ## What it checks
    Calls of PyTorch, Keras, Hugging Face and scikit-learn with arguments that no released version takes, such as
    `SparseCategoricalCrossentropy(label_smoothing=0.1)` or `torch.optim.AdamW(learning_rate=1e-4)`: a table of
    confusions between libraries, which is extended where new ones are met. Names are followed through the imports, so
    that a class of one's own with the same name is not meant.

    ## Why it matters
    The call ends in a TypeError, often only when the model is compiled, after the data was prepared; or the correction
    of an earlier run, copied from advice for another library, never starts.

    ## Inputs
    The calls in the source, with their keyword arguments.

    ## Fix
    Only shown, with the argument that the library takes instead: the value often means something else there.

    ## When to ignore
    A patched or newer version of the library that takes the argument.

    ## Source
    Signatures in the documentation of PyTorch 2, TensorFlow 2.10-2.14, Keras 3.15.1, transformers and scikit-learn.
    Keras' sparse loss takes no `label_smoothing` up to 3.15; a later version does (keras-team/keras, pull 23488).
    """
    for source in program.sources:
        for call in source.calls:
            name = _canonical(call.resolved)
            refused = NOT_TAKEN.get(name, {})
            for argument in call.keywords:
                if argument not in refused:
                    continue
                at = call.where.get(argument, call.source)
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
                )


def _canonical(resolved: str) -> str:
    """The name under which the table has a call: Keras is one library under several names."""
    for prefix in _KERAS:
        if resolved.startswith(prefix):
            return "keras." + resolved.removeprefix(prefix)
    if resolved.startswith(_KERAS_ALIASES):
        return "keras." + resolved.removeprefix("tensorflow.")
    return resolved
