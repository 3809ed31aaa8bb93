"""Canonical names of settings and series, and the spellings found for them.

Settings have one table, which plugins can extend; names of series follow a grammar (`split/quantity`). The words of
both are in `words.py`.

A setting's spelling is compared in lower case with dashes and dots as underscores; of a nested key (`optimizer.lr`,
`model.max_position_embeddings`) the whole is tried first, then its last part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache

from msgspec import Struct, field

from mldiag import words as w
from mldiag.patterns import lazily
from mldiag.spelling import CAMEL, PLAIN_SPLITS, by_spelling, core_quantities, normalized as normalized, words_of
from mldiag.units import unit_of as unit_of

SETTINGS = w.SETTINGS

# What is left of a name after one reading may be known in the next: `epoch/ep_rew_mean`.
_ROUNDS = 4
_AP = lazily(r"m?ap\w*|pq|sq|rq|m?iou|fwiou|ar\d*|[map]?acc|.*iou.*")


@cache
def _quantities() -> Mapping[str, str]:
    return by_spelling({**w.QUANTITIES, **w.CORE_QUANTITIES})


@cache
def _bare() -> Mapping[str, str]:
    return by_spelling(w.BARE)


@cache
def axis(name: str) -> str | None:
    """Whether a column counts steps (`step`), epochs (`epoch`) or seconds (`time`) by its name; None for others."""
    return _axes().get(normalized(name)) or _axes().get("_".join(words_of(name)))


@cache
def _axes() -> Mapping[str, str]:
    kinds = (("time", w.TIME_NAMES), ("epoch", w.EPOCH_NAMES), ("step", w.STEP_NAMES))
    return {normalized(name): kind for kind, names in kinds for name in names}


def split_of(name: str) -> str | None:
    """The split (`train`, `val`, `test`) that a series name or file stem begins or ends with, else None."""
    words = words_of(name)
    return next((w.SPLITS[words[at]] for at in (0, -1) if words and _is_split(words, at)), None)


def without_split(name: str) -> str:
    """The name without the split it begins or ends with, normalized: `val_steps` gives `steps`."""
    return "_".join(_parted(list(words_of(name)))[1])


def is_known_quantity(name: str) -> bool:
    """Whether a name is a quantity of the vocabulary or a loss (`val_acc`, `lr`, `bce_loss`)."""
    words = words_of(name)
    joined = "_".join(words)
    if joined in _bare() or normalized(name) in _bare() or joined in _quantities():
        return True
    if words[:1] == ("lr",) and _rate_of_group(list(words)):
        return True
    split, rest = _parted(list(words))
    if split and "_".join(rest) in _quantities():
        return True
    return any(x in core_quantities() or x.endswith("loss") for x in words)


def is_metric(name: str) -> bool:
    """Whether a name is a quantity that training logs: a known one, a loss or score, or one of a split (`val_mae`)."""
    words = words_of(name)
    if not words or axis(name):
        return False
    if is_known_quantity(name):
        return True
    of_split = len(words) > 1 and (_is_split(words, 0) or _is_split(words, -1) or words[0] == "predict")
    return of_split and not w.COUNTED & set(words)


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
        # yacs' `MODEL.RETINANET.NUM_CLASSES` is of a part that the run need not have: defaults of all are dumped.
        of_part = parts[0] == "MODEL" and len(parts) > 2
        if not of_part and not any(
            word in w.ELSEWHERE for parent in parts[:-1] for word in normalized(parent).split("_")
        ):
            # `batchSize` is `batch_size`.
            spellings += [normalized(parts[-1]), normalized(CAMEL.sub("_", parts[-1]))]
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
    behind its split. A canonical name is its own canonical name.
    """
    name = _named(raw)
    for _ in range(_ROUNDS):
        again = _named(name)
        if again == name:
            break
        name = again
    return name


@lru_cache(4096)
def _named(raw: str) -> str:
    words = list(words_of(raw))
    for spelled in (normalized(raw), "_".join(words)):
        if spelled in _bare():
            return _bare()[spelled]
    if not words:
        return f"train/{normalized(raw) or raw.strip() or 'unnamed'}"
    if words[0] == "system":
        return f"system/{'_'.join(words[1:])}" if len(words) > 1 else "train/system"
    split, words = _parted(words)
    rest = "_".join(words)
    if rest in ("epoch", "step") or rest in w.UNSPLIT:
        return rest if split is None else f"{split}/{rest}"
    if split in (None, "train") and (rate := _rate_of_group(words)):
        return rate
    known = _known(words)
    if known is not None and known in w.BARE:
        return known if split in (None, "train") else f"{split}/{known}"
    return f"{split or 'train'}/{known or _component(words) or '_'.join(_unsuffixed(words))}"


def _known(words: Sequence[str]) -> str | None:
    """The quantity of the vocabulary that words without a split name, however it was averaged or filed."""
    filed = words[1:] if words[0] in w.CONTAINERS else []
    for some in filter(None, (words, filed, ["loss", *filed] if words[0] == "losses" else [])):
        rest, trimmed = "_".join(some), _trimmed(some)
        for spelled in (rest, trimmed):
            if spelled in _bare():
                return _bare()[spelled]
            if spelled in _quantities():
                return _quantities()[spelled]
    # XGBoost numbers its evaluation sets, Lightning its loaders; the first is the one that is meant.
    if len(words) > 1 and words[0].isdigit():
        known = _known(words[1:])
        return known if not known or words[0] == "0" else f"{words[0]}_{known}"
    if words[-3:] == ["dataloader", "idx", "0"] and len(words) > 3:
        return _known(words[:-3])
    return None


def _component(words: Sequence[str]) -> str | None:
    """`loss/box` of a name with a loss in it that is not the whole."""
    trimmed = _trimmed(words[1:] if words[0] in w.CONTAINERS and len(words) > 1 else words).split("_")
    trimmed = ["loss" if x == "losses" else x for x in trimmed]
    if "loss" not in trimmed or len(trimmed) < 2 or w.ABOUT_LOSS & set(trimmed):
        return None
    trimmed.remove("loss")
    return f"loss/{'_'.join(trimmed)}"


def _rate_of_group(words: list[str]) -> str | None:
    """The learning rate of a parameter group: `lr_adamw_pg2`, `lr_backbone`; the first group's is the rate."""
    if words[:1] == ["x"]:  # YOLOv5 writes `x/lr0` for what is no metric
        words = words[1:]
    if not words:
        return None
    if numbered := re.fullmatch(r"lr(\d+)", words[0]):
        words = ["lr", f"pg{numbered[1]}", *words[1:]]
    if words[0] != "lr" or len(words) < 2:
        return None
    group = [f"pg{x}" if x.isdigit() else x for x in words[1:] if x != "group"]
    if group == ["pg0"]:
        return "lr"
    optimizer = group[:1] if group and group[0] in w.OPTIMIZERS else []
    group = group[len(optimizer) :]
    if optimizer and not [x for x in group if x != "pg1"]:
        return "lr"
    return "_".join(["lr", *optimizer, *group]) if optimizer or group else None


def _parted(words: list[str]) -> tuple[str | None, list[str]]:
    """The split that a name begins or ends with, or that stands between its words, and the other words."""
    if len(words) < 2:
        return None, words
    for at in (0, -1):
        if _is_split(words, at) or (at == 0 and words[0] in ("predict", "metrics")):
            return _outer(words, at)
    if words[0] in w.EVALUATORS and any(_AP.fullmatch(x) for x in words[1:]):
        return "val", words
    for at in range(1, len(words) - 1):
        others = words[:at] + words[at + 1 :]
        if words[at] in PLAIN_SPLITS and (w.ABOUT_LOSS & {words[0]} or _known(others) or _component(others)):
            return w.SPLITS[words[at]], others
    return None, words


def _outer(words: list[str], at: int) -> tuple[str | None, list[str]]:
    """Of several splits in a name the inner one says which data: `train/val_loss`, `eval_test_loss`."""
    rest = words[1:] if at == 0 else words[:-1]
    if words[0] == "valid" and at == 0 and rest[0].isdigit() and len(rest) > 1:
        rest = rest[1:]  # LightGBM counts its training set among them: `valid_1` is the first beside `training`
    inner, others = _parted(rest)
    word = words[at]
    if word == "metrics":
        if inner:
            return inner, others
        # Ultralytics and YOLOv5 write what they measure on the validation set as `metrics/...`.
        quantity = _known(rest) or "_".join(rest)
        yolo = quantity in w.YOLO_METRICS or rest[0] in w.YOLO_METRICS or rest[0].startswith("map")
        return ("val", rest) if yolo else (None, rest)
    split = "test" if word == "predict" else w.SPLITS[word]
    if inner is None:
        return split, rest
    if inner == "train" and split != "train":
        return "train", ["evaluated", *others]
    return inner, others


def _is_split(words: Sequence[str], at: int) -> bool:
    """Whether the first (0) or last (-1) word names a split; `std_dev` ends with none."""
    if words[at] not in w.SPLITS:
        return False
    return not (at and words[-1] == "dev" and words[-2:-1] and words[-2] in ("std", "standard", "st", "abs"))


def _unsuffixed(words: list[str]) -> list[str]:
    """An unknown name without what Lightning (`auroc_epoch`) and Keras (`epoch_auc`) add; `epoch_time` is whole."""
    if len(words) > 1 and words[-1] in ("epoch", "step") and words[-2] not in w.COUNTING:
        return words[:-1]
    if len(words) > 1 and words[0] == "epoch" and words[1] not in w.COUNTING:
        return words[1:]
    return words


def _trimmed(words: Sequence[str]) -> str:
    """The name without words of averaging at its ends: Lightning's `loss_epoch`, TensorFlow's `epoch_loss`."""
    while len(words) > 1 and words[0] in w.AGGREGATES:
        words = words[1:]
    while len(words) > 1 and words[-1] in w.AGGREGATES:
        words = words[:-1]
    return "_".join(words)


@cache
def _aliases() -> Mapping[str, str]:
    return {n: n for n in w.SETTINGS} | {a: n for n, spelled in w.SETTINGS.items() for a in spelled}
