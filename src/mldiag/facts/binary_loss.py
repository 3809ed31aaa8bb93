"""The binary cross-entropy that a program trains with, and what weighs its positives."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from mldiag.artifacts import Call, Program, Settings, SettingValue, Source, as_number
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.patterns import lazily
from mldiag.vocabulary import normalized

_CALLS = {
    "BCEWithLogitsLoss": "torch", "BCELoss": "torch", "binary_cross_entropy_with_logits": "torch",
    "binary_cross_entropy": "torch", "BinaryCrossentropy": "keras", "binary_crossentropy": "keras",
    "MultiLabelSoftMarginLoss": "torch", "sigmoid_cross_entropy_with_logits": "tensorflow",
}  # fmt: skip
_NAMES = lazily(
    r"bce|bce_with_logits|bce_?loss|bcewithlogits(?:loss)?|bce_with_logits_loss|binary_cross_?entropy(?:_with_logits)?|"
    r"binarycrossentropy|binary_crossentropy|sigmoid_cross_entropy"
)
_WEIGHTED = lazily(
    r"pos_?weights?|focal\w*|\w*focal_?loss|class_?weights?|sample_?weights?|weightedrandomsampler|asymmetric\w*|asl|"
    r"\w*over_?sampl\w*|\w*under_?sampl\w*|smote|negative_sampling|neg_sampl\w*|num_neg\w*|neg_ratio|ohem|"
    r"class_?balanced\w*|cb_?loss|ldam\w*|scale_pos_weight|is_unbalance|balanced_?sampler|sampler_weights|dice_?loss|"
    r"effective_num\w*|logit_?adjust\w*|margin_?loss"
)
_POS_WEIGHT = lazily(r"(?:bce_)?pos(?:itive)?_?(?:class_)?weight|scale_pos_weight")
_PROBLEM = "multi_label_classification"


class BinaryLoss(Struct, frozen=True):
    """A binary cross-entropy of the program.

    Attributes:
        name: as it is written (`nn.BCEWithLogitsLoss`).
        source: where.
        weighted: what weighs, samples or focuses its rare side; empty where nothing does.
        setting: the setting of its positive weight, where there is one.
    """

    name: str
    source: Source
    weighted: str = ""
    setting: SettingValue | None = None


@fact
def binary_loss(program: Program | None, settings: Settings | None) -> BinaryLoss:
    """From the calls of the source, Keras' `compile(loss=...)`, Hugging Face's `problem_type`, or a setting `loss`.

    A loss whose elements the program reduces by itself (`reduction="none"`) may be weighted there and counts as such.
    """
    found = settings or Settings()
    known = program or Program()
    used = [
        *((c.name, c.source, _weighs(c)) for s in known.sources for c in s.calls if _is_binary(c)),
        *((str(v.value), v.source, "") for v in found.all("loss") if _names_it(v.value)),
        *((_PROBLEM, v.source, "") for v in found if v.key == "problem_type" and v.value == _PROBLEM),
    ]
    if not used:
        raise NotApplicable("neither source nor settings name a binary cross-entropy")
    name, source, weighted = used[0]
    setting = next((found.effective(n) or v[0] for n, v in found.by_name.items() if _is_weight(v[0])), None)
    value = as_number(setting.value) if setting is not None else None
    if setting is not None and (setting.value is None or (value is not None and value <= 1)):
        # The program weighs by a setting, which is off.
        weighted = next((w for _, _, w in used if w and not _POS_WEIGHT.fullmatch(w)), "")
        return BinaryLoss(name, source, weighted or _mentioned(known, found, but_not=setting), setting)
    if setting is not None and value is not None:
        return BinaryLoss(name, source, f"{setting.key} {value:g}", setting)
    weighted = next((w for _, _, w in used if w), "") or _mentioned(known, found)
    return BinaryLoss(name, source, weighted)


def _is_binary(call: Call) -> bool:
    if call.last in _CALLS:
        return True
    loss = call.keywords.get("loss")
    return call.last == "compile" and isinstance(loss, str) and _names_it(loss)


def _names_it(value: object) -> bool:
    return isinstance(value, str) and _NAMES.fullmatch(normalized(value.rpartition(".")[2])) is not None


def _is_weight(value: SettingValue) -> bool:
    return _POS_WEIGHT.fullmatch(value.key) is not None


def _weighs(call: Call) -> str:
    """The argument by which a call weighs its elements; empty for none."""
    for keyword, value in call.keywords.items():
        if keyword in ("weight", "pos_weight", "loss_weights", "class_weight", "apply_class_balancing"):
            return keyword
        if keyword == "reduction" and value not in ("mean", "sum", "sum_over_batch_size", "auto"):
            return "reduction"
    if call.last in ("BCEWithLogitsLoss", "BCELoss") and call.positional:
        return "weight"
    return "a third argument" if call.last.startswith("binary_cross_entropy") and len(call.positional) > 2 else ""


def _mentioned(program: Program, settings: Settings, but_not: SettingValue | None = None) -> str:
    """A name in the source or settings that speaks of weighting or sampling the rare side; empty for none."""

    def names() -> Iterator[str]:
        for source in program.sources:
            yield from source.names
            yield from (c.last for c in source.calls)
            yield from (k for c in source.calls for k in c.keywords)
        for value in settings:
            if value.value not in (None, False, 0, 1, "none", "None", ""):
                yield value.key
                if isinstance(value.value, str) and len(value.value) < 40:
                    yield value.value

    for name in names():
        plain = normalized(name)
        off = but_not is not None and (plain == but_not.key or _POS_WEIGHT.fullmatch(plain) is not None)
        if not off and _WEIGHTED.fullmatch(plain):
            return name
    return ""
