"""Canonical names of settings and series, and the spellings found for them.

Settings have one table, which plugins can extend; names of series follow a grammar (`split/quantity`).

A setting's spelling is compared in lower case with dashes and dots as underscores; of a nested key (`optimizer.lr`,
`model.max_position_embeddings`) the whole is tried first, then its last part.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

from msgspec import Struct, field

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "seq_len": (
        "seq_length", "sequence_length", "max_seq_len", "max_seq_length", "max_sequence_length", "block_size",
        "context_length", "context_len", "ctx_len", "seqlen", "maxlen", "max_len", "cutoff_len", "sequence_len",
        "tokens_per_sample", "bptt",
    ),
    "max_positions": (
        "max_position_embeddings", "n_positions", "n_ctx", "num_positions", "position_embeddings", "max_pos",
        "max_source_positions", "max_position",
    ),
    "stride": ("window_stride", "seq_stride", "sliding_stride", "step_size_tokens", "hop"),
    "batch_size": (
        "bs", "train_batch_size", "per_device_train_batch_size", "per_gpu_train_batch_size", "micro_batch_size",
        "device_batch_size", "batchsize", "minibatch_size", "mini_batch_size", "train_micro_batch_size_per_gpu",
        "batch", "ims_per_batch", "tamanho_lote",
    ),
    "grad_accum": (
        "gradient_accumulation_steps", "accumulate_grad_batches", "grad_accum_steps", "accumulation_steps",
        "gradient_accumulation", "update_freq", "grad_accumulation_steps", "accum_steps",
    ),
    "devices": ("num_gpus", "n_gpu", "ngpu", "num_devices", "world_size", "nproc_per_node", "num_processes"),
    "lr": ("learning_rate", "base_lr", "lr0", "max_lr", "peak_lr", "init_lr", "initial_lr", "learningrate"),
    "min_lr": ("lr_min", "final_lr", "end_lr", "eta_min", "learning_rate_min"),
    "lr_schedule": ("lr_scheduler_type", "scheduler", "lr_scheduler", "lr_decay_style", "schedule"),
    "lr_decay_steps": ("lr_decay_iters", "decay_steps", "lr_decay_steps", "max_lr_steps", "t_max", "cosine_steps",
                       "total_num_update"),
    "warmup_steps": (
        "warmup", "warmup_iters", "num_warmup_steps", "lr_warmup_steps", "warmup_updates", "lr_warmup_iters",
        "n_warmup_steps",
    ),
    "warmup_ratio": ("warmup_fraction", "lr_warmup_fraction", "warmup_proportion", "pct_start"),
    "total_steps": (
        "max_steps", "max_iters", "num_train_steps", "num_steps", "total_iters", "train_iters", "max_updates",
        "max_update", "num_training_steps", "training_steps", "train_steps", "total_iterations", "num_iterations",
        "max_iterations", "max_iter", "n_steps", "max_train_steps",
    ),
    "steps_per_epoch": ("batches_per_epoch", "iters_per_epoch", "steps_epoch", "num_batches_per_epoch"),
    "epochs": (
        "num_epochs", "num_train_epochs", "max_epochs", "n_epochs", "nb_epochs", "total_epochs", "max_epoch",
        "epoch_num", "train_epochs",
    ),
    "weight_decay": ("wd", "l2", "decay", "adamw_weight_decay"),
    "clip_norm": (
        "clip", "grad_clip", "gradient_clip", "max_grad_norm", "clipnorm", "gradient_clip_val", "clip_grad",
        "clip_grad_norm", "global_clipnorm", "gradient_clipping", "grad_clip_norm", "clipvalue", "clip_value",
    ),
    "label_smoothing": ("label_smoothing_factor", "smoothing", "label_smooth", "ls"),
    "dropout": ("dropout_rate", "drop", "resid_pdrop", "hidden_dropout_prob", "dropout_p"),
    "d_model": (
        "n_embd", "hidden_size", "embed_dim", "embedding_dim", "model_dim", "dim", "d_embed", "n_embed", "emb_dim",
        "embed_size", "embedding_size",
    ),
    "num_layers": ("n_layer", "n_layers", "num_hidden_layers", "layers", "depth", "nlayers", "num_blocks"),
    "num_heads": ("n_head", "n_heads", "num_attention_heads", "heads", "nhead", "nheads", "attention_heads"),
    "d_ff": (
        "dff", "ffn_dim", "intermediate_size", "n_inner", "ff_dim", "dim_feedforward", "ffn_hidden_size", "d_inner",
        "mlp_dim", "hidden_ff", "feedforward_dim",
    ),
    "rotary_dim": ("rope_dim", "rotary_ndims", "n_rot"),
    "rnn_units": ("lstm_units", "gru_units", "rnn_hidden", "lstm_size", "hidden_units", "rnn_size"),
    "cell": ("rnn_type", "cell_type", "rnn_cell"),
    "vocab_size": ("vocab", "n_vocab", "vocabulary_size", "num_tokens_vocab", "padded_vocab_size", "vocab_len"),
    "tie_embeddings": (
        "tie_word_embeddings", "tied_embeddings", "weight_tying", "tie_weights", "share_embeddings", "tied",
    ),
    "position_encoding": ("pos_encoding", "positional_encoding", "position_embedding_type", "pos_emb", "pos_embedding"),
    "num_parameters": (
        "n_params", "num_params", "parameters", "params", "total_params", "parameter_count", "n_parameters",
        "trainable_params", "model_params", "total_parameters",
    ),
    "train_tokens": (
        "n_tokens", "num_tokens", "corpus_tokens", "dataset_tokens", "unique_tokens", "n_train_tokens",
        "num_train_tokens",
    ),
    "train_windows": ("n_windows", "num_windows", "train_samples", "num_train_samples", "n_samples"),
    "max_docs": ("num_docs", "n_docs", "num_documents", "max_documents", "docs", "documents", "train_docs"),
    "num_classes": ("n_classes", "num_labels", "nc", "n_class", "num_class", "classes"),
    "seed": ("random_seed", "random_state", "manual_seed", "global_seed", "rng_seed", "seed_everything"),
    "patience": ("early_stopping_patience", "es_patience", "early_stop_patience", "early_stopping_rounds"),
    "early_stopping": ("early_stop", "use_early_stopping"),
    "eval_every": ("eval_interval", "eval_steps", "evaluate_every", "eval_freq", "val_interval", "validation_steps"),
    "optimizer": ("optim", "opt", "optimiser"),
    "loss": ("loss_fn", "criterion", "loss_function", "objective"),
    "max_seconds": ("max_time", "time_limit", "max_train_time", "walltime"),
}  # fmt: skip

_SPLITS = {
    "train": "train", "training": "train", "trn": "train", "tr": "train", "learn": "train", "treino": "train",
    "treinamento": "train",
    "val": "val", "valid": "val", "validation": "val", "eval": "val", "evaluation": "val", "dev": "val", "cv": "val",
    "validacao": "val", "avaliacao": "val",
    "test": "test", "testing": "test", "teste": "test",
}  # fmt: skip

_QUANTITIES = {
    "loss": "loss", "losses": "loss", "perda": "loss", "perdas": "loss", "total_loss": "loss", "loss_total": "loss",
    "logloss": "loss", "binary_logloss": "loss", "multi_logloss": "loss",
    "acc": "accuracy", "accuracy": "accuracy", "acuracia": "accuracy", "sparse_categorical_accuracy": "accuracy",
    "categorical_accuracy": "accuracy", "binary_accuracy": "accuracy", "top1": "accuracy", "token_accuracy": "accuracy",
    "masked_accuracy": "accuracy", "mean_token_accuracy": "accuracy", "acc1": "accuracy", "acc@1": "accuracy",
    "top1_acc": "accuracy", "acc_top1": "accuracy", "top1_accuracy": "accuracy", "accuracies": "accuracy",
    "accs": "accuracy",
    "ppl": "perplexity", "perplexity": "perplexity", "perplexidade": "perplexity",
}  # fmt: skip

# Quantities of the run itself, which have no split.
_BARE = {
    "lr": "lr", "learning_rate": "lr", "taxa": "lr", "taxa_aprendizado": "lr", "lrs": "lr", "learning_rates": "lr",
    "x_lr0": "lr", "lr_pg0": "lr",
    "grad_norm": "grad_norm", "gradient_norm": "grad_norm", "gnorm": "grad_norm", "norma_gradiente": "grad_norm",
    "tokens_per_s": "tokens_per_s", "tok_per_s": "tokens_per_s", "tokens_per_sec": "tokens_per_s",
    "tokens_per_second": "tokens_per_s", "tok_s": "tokens_per_s", "tps": "tokens_per_s", "tokens_por_segundo":
    "tokens_per_s",
    "tokens": "tokens", "tokens_seen": "tokens", "num_input_tokens_seen": "tokens", "total_tokens": "tokens",
}  # fmt: skip

# `lr-AdamW` is how Lightning's LearningRateMonitor names the first parameter group's rate.
_OPTIMIZERS = frozenset({
    "adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta", "adafactor", "adamax", "nadam", "radam", "lion", "lamb",
    "lars", "muon",
})  # fmt: skip

# Words that say how a quantity was averaged and leave its meaning.
_AGGREGATES = frozenset({"epoch", "step", "avg", "average", "mean", "running", "smoothed", "smooth", "media", "global"})

# Numbers about a loss, which are no part of its sum: AMP's loss scale, the best value so far, a spread.
_ABOUT_LOSS = frozenset({
    "scale", "scaler", "scaling", "best", "min", "max", "std", "var", "weight", "weights", "ratio", "gap", "diff",
    "delta",
})  # fmt: skip

_FILLERS = frozenset({"de", "do", "da", "of"})

# Parts of a nested key below which a setting is not the training run's own.
_ELSEWHERE = frozenset({
    "eval", "evaluation", "val", "valid", "validation", "test", "testing", "infer", "inference", "predict",
    "prediction", "generation", "generate", "sampling", "tokenizer", "teacher", "discriminator", "preprocessor",
})  # fmt: skip

STEP_NAMES = frozenset({
    "step", "steps", "global_step", "iter", "iteration", "iterations", "it", "passo", "num_updates", "_step", "batch",
    "trainer/global_step", "update", "updates", "current_steps", "iters", "iteracao", "global_steps", "train_step",
    "global_iter", "global_iteration", "total_timesteps", "timesteps", "num_timesteps", "train_steps", "passos",
    "iter_num", "optimizer_step", "n_updates", "nupdates", "lote", "steps_done", "time/total_timesteps",
    "time/iterations",
})  # fmt: skip
EPOCH_NAMES = frozenset({
    "epoch", "epochs", "epoca", "época", "ep", "epoch_num", "_epoch", "epocas", "train/epoch", "epoch_id",
    "current_epoch",
})  # fmt: skip
TIME_NAMES = frozenset({
    "wall_time", "timestamp", "time", "elapsed", "elapsed_time", "seconds", "_timestamp", "_runtime", "wall_seconds",
    "elapsed_seconds", "runtime", "time_elapsed", "total_time", "passed_time", "passed", "tempo", "segundos",
    "walltime",
    "time/elapsed", "time/time_elapsed", "time_s", "elapsed_s",
})  # fmt: skip
_SEPARATORS = re.compile(r"[\s./\-]+")


def normalized(name: str) -> str:
    """Lower case without accents, words joined by single underscores."""
    if not name.isascii():
        name = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return re.sub(r"_+", "_", _SEPARATORS.sub("_", name.strip().lower())).strip("_")


@cache
def axis(name: str) -> str | None:
    """Whether a column counts steps (`step`), epochs (`epoch`) or seconds (`time`) by its name; None for others."""
    return _axes().get(normalized(name))


@cache
def _axes() -> Mapping[str, str]:
    kinds = (("time", TIME_NAMES), ("epoch", EPOCH_NAMES), ("step", STEP_NAMES))
    return {normalized(name): kind for kind, names in kinds for name in names}


def split_of(name: str) -> str | None:
    """The split (`train`, `val`, `test`) that a series name or file stem begins or ends with, else None."""
    words = normalized(name).split("_")
    return next((_SPLITS[w] for w in (words[0], words[-1]) if w in _SPLITS), None)


def without_split(name: str) -> str:
    """The name without the split it begins or ends with, normalized: `val_steps` gives `steps`."""
    return "_".join(_parted(normalized(name).split("_"))[1])


def is_known_quantity(name: str) -> bool:
    """Whether a name is a quantity of the vocabulary or a loss (`val_acc`, `lr`, `bce_loss`)."""
    words = [w for w in normalized(name).split("_") if w]
    bare = "_".join(words)
    return bare in _BARE or bare in _QUANTITIES or any(w in _QUANTITIES or w.endswith("loss") for w in words)


def is_metric(name: str) -> bool:
    """Whether a name is a quantity that training logs: a known one, a loss or score, or one of a split (`val_mae`)."""
    words = [w for w in normalized(name).split("_") if w]
    if not words or axis(name):
        return False
    if is_known_quantity(name):
        return True
    of_split = len(words) > 1 and (words[0] in _SPLITS or words[-1] in _SPLITS)
    return of_split and not _COUNTED & set(words)


_COUNTED = frozenset({
    "id", "ids", "idx", "index", "indices", "files", "file", "size", "sizes", "samples", "count", "counts", "n", "num",
    "set", "split", "data", "path", "paths", "labels", "images", "examples",
})  # fmt: skip


class Vocabulary(Struct, frozen=True):
    """Maps spellings of settings to canonical names. `extra` holds what plugins add."""

    extra: Mapping[str, str] = field(default_factory=dict)

    def extended(self, words: Mapping[str, Iterable[str]]) -> Vocabulary:
        """With further aliases; a spelling that is known already keeps its meaning."""
        known = _aliases()
        added = {normalized(a): name for name, spelled in words.items() for a in (name, *spelled)}
        return Vocabulary({**{a: n for a, n in added.items() if a not in known}, **self.extra})

    def setting(self, key: str) -> str | None:
        """The canonical name of a settings key, or None where the vocabulary has none."""
        parts = re.split(r"[./]", key.strip())
        table = _aliases()
        spellings = [normalized(key)]
        if not any(w in _ELSEWHERE for parent in parts[:-1] for w in normalized(parent).split("_")):
            spellings.append(normalized(parts[-1]))
        for spelled in spellings:
            found = table.get(spelled) or self.extra.get(spelled)
            if found:
                return found
        return None


def series_name(raw: str) -> str:
    """The canonical name of a series.

    `val_loss`, `valid/loss` and `eval_loss` give `val/loss`; a bare `loss` gives `train/loss`, since trainers log
    the training quantity without a prefix (Keras, Hugging Face, nanoGPT); `lr` and counters have no split; a
    component keeps its name (`train/loss/bce`). A quantity that the vocabulary does not know keeps its own name
    behind its split.
    """
    words = [w for w in normalized(raw).split("_") if w not in _FILLERS]
    if "_".join(words) in _BARE:
        return _BARE["_".join(words)]
    if words[0:1] == ["lr"] and words[1:2] and words[1] in _OPTIMIZERS:
        group = [w for w in words[2:] if w != "pg1"]
        return "_".join(["lr", *words[1:2], *group]) if group else "lr"
    if words[0:1] == ["system"]:
        return f"system/{'_'.join(words[1:])}"
    split, words = _parted(words)
    rest = "_".join(words)
    if rest in ("epoch", "step"):
        return f"{split}/{rest}" if split else rest
    trimmed = _trimmed(words)
    for spelled in (rest, trimmed):
        if spelled in _BARE:
            return _BARE[spelled] if split in (None, "train") else f"{split}/{_BARE[spelled]}"
        if spelled in _QUANTITIES:
            return f"{split or 'train'}/{_QUANTITIES[spelled]}"
    if trimmed.startswith("loss_") or trimmed.endswith("_loss"):
        part = trimmed.removeprefix("loss_").removesuffix("_loss")
        if not _ABOUT_LOSS & set(part.split("_")):
            return f"{split or 'train'}/loss/{part}"
    return f"{split or 'train'}/{rest}"


def _parted(words: list[str]) -> tuple[str | None, list[str]]:
    """The split that a name begins or ends with, also behind `avg` or `best`, and the other words."""
    if len(words) > 1:
        for at in (0, -1):
            if words[at] in _SPLITS:
                return _SPLITS[words[at]], words[1:] if at == 0 else words[:-1]
        # Ultralytics and YOLOv5 write what they measure on the validation set as `metrics/...`.
        if words[0] == "metrics":
            return "val", words[1:]
    if len(words) > 2 and words[0] in _AGGREGATES | _ABOUT_LOSS and words[1] in _SPLITS:
        return _SPLITS[words[1]], [words[0], *words[2:]]
    return None, words


def _trimmed(words: list[str]) -> str:
    """The name without words of averaging at its ends: Lightning's `loss_epoch`, TensorFlow's `epoch_loss`."""
    while len(words) > 1 and words[0] in _AGGREGATES:
        words = words[1:]
    while len(words) > 1 and words[-1] in _AGGREGATES:
        words = words[:-1]
    return "_".join(words)


@cache
def _aliases() -> Mapping[str, str]:
    return {n: n for n in SETTINGS} | {a: n for n, spelled in SETTINGS.items() for a in spelled}
