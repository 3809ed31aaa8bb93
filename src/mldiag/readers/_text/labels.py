"""What the words beside a number in a training log say: which quantity, of which split, on which axis, in what unit."""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

from mldiag.patterns import lazily
from mldiag.spelling import words_of as parts_of
from mldiag.vocabulary import axis, is_known_quantity, normalized, series_name, split_of as split_of_name, without_split

LONGEST = 6
"""Words of a label; more are a sentence."""
NEAR = 120
"""Characters beside a number that can name it."""

split_of = lru_cache(50_000)(split_of_name)
"""The words of a text recur, however many lines it has."""

_MEASURES = frozenset({
    "f1", "auc", "auroc", "roc", "map", "ap", "iou", "miou", "dice", "precision", "recall", "prec", "rec", "acc",
    "top", "bleu", "rouge", "meteor", "chrf", "wer", "cer", "ter", "ssim", "psnr", "lpips", "fid", "mae", "mse",
    "rmse", "rmsle", "mape", "smape", "r2", "mrr", "ndcg", "hits", "bpb", "bpc", "bpd", "nll", "kl", "kld", "elbo",
    "err", "error", "reward", "return", "entropy", "spearman", "pearson", "kappa", "mcc", "fscore", "sensitivity",
    "specificity", "l1", "l2", "logloss", "likelihood", "perplexity", "score", "gan", "em",
})  # fmt: skip
"""Words of quantities that are measured on a model, beside the losses and accuracies of the vocabulary."""

_BENCHMARKS = frozenset({
    "hella", "hellaswag", "mmlu", "lambada", "piqa", "winogrande", "boolq", "gsm8k", "truthfulqa",
})  # fmt: skip
"""Names of public benchmarks: a score on one is of held-out data, whoever logs it."""

# A word that makes of a loss or score a setting.
_NO_OUTCOME = frozenset({
    "weight", "weights", "w", "coef", "coeff", "coefficient", "type", "fn", "function", "func", "name", "scale",
    "scaler", "scaling", "smoothing", "reduction", "threshold", "thresh", "thr", "lambda", "alpha", "beta", "gamma",
    "factor", "margin", "size", "interval", "freq", "patience", "warmup", "decay", "max", "min", "num", "number", "eps",
    "target", "objective", "monitor", "workers", "probability", "mode", "steps", "version", "init", "initial", "clip",
})  # fmt: skip
# A word that makes of a label a sentence, which tells of something rather than logging it.
_SENTENCE = frozenset({
    "to", "from", "than", "by", "for", "in", "after", "with", "until", "if", "not", "will", "be", "has", "have",
    "improved", "decreased", "increased", "reached", "took", "takes", "saved", "saving", "save", "loading", "loaded",
    "load", "using", "use", "found", "used", "because", "when", "this", "these", "that", "you", "we", "should", "can",
    "please", "since", "only", "into", "line", "version", "warning", "error:", "exceeds", "expected", "got", "shape",
    "device", "gpu", "cuda", "pid", "port", "seed", "resuming", "resume", "file", "files", "contains", "creating",
    "created", "writing", "processed", "download", "what", "had", "ended", "rose",
    "fell", "against", "above", "below", "went", "stopped", "dropped", "which", "there", "their", "a", "an", "it",
    "its",
})  # fmt: skip
_RETOLD = lazily(
    r"\b(?:sav(?:ed|ing)(?! dict)|load(?:ed|ing)|resum(?:ed|ing)|writ(?:ing|ten)|restor(?:ed|ing)|improved)\b"
    r"|\bbest (?:model|epoch|checkpoint|result|weights|found|ckpt)",
    re.IGNORECASE,
)
_LEFT_OUT = frozenset({
    "eta", "remaining", "percentage", "eta_seconds", "id", "rank", "gpu", "pid", "v_num",
})  # fmt: skip
# Words that say of which kind a number is, not of what.
_QUALIFIERS = frozenset({
    "best", "avg", "mean", "std", "min", "max", "prev", "previous", "last", "current", "median", "sum", "total", "old",
    "new", "so", "far",
})  # fmt: skip

_BATCHES = frozenset({"batch", "minibatch", "mb", "lote", "it", "iters", "批次"})
_OTHER_AXES = frozenset({"episode", "round", "trial", "generation", "game"})
_NO_POSITIONS = frozenset({
    "epochs", "steps", "updates", "iterations", "passos", "epocas", "train_steps", "timesteps",
})  # fmt: skip
"""Plurals: how many there are, not which one this is."""
_BEFORE_AXIS = frozenset({
    "global", "train", "training", "current", "cur", "meta", "optimizer", "the", "end", "of", "at", "starting",
    "beginning", "eval", "val", "validation", "test", "finished", "done", "running", "this", "on", "inner", "outer",
    "evaluation", "testing", "evaluating", "validating", "valid", "treino", "now", "a", "da", "do", "fim", "stage",
    "phase", "summary", "results", "stats", "completed", "info",
})  # fmt: skip

_OUT_OF = frozenset({"/", "of", "out of", "de", "von", "sur", "di", "su", "из"})
"""What joins a counter to its total in the languages of the vocabulary."""

_WRAPPED = lazily(
    r"(?:\b(?:tensor|Tensor|[Aa]rray|DeviceArray|Parameter|(?:np\.|numpy\.|jnp\.)?(?:float|int)\d+)\(\[?"
    r"|<tf\.Tensor: shape=\(\), dtype=\w+, numpy=)$"
)
"""What Python prints before a number that is no plain one: `tensor(0.5, grad_fn=...)`, `np.float64(0.5)`."""

_ROUNDS = frozenset("轮輪")
"""Behind a number they say that it counts epochs (`第 3 轮`); what follows is another label."""

_WIDE = str.maketrans("：，；｜（）［］＝％－", ":,;|()[]=%-")
_SCRIPTS = lazily(r"(?<=[\u3040-\u30ff\u4e00-\u9fff])(?=[A-Za-z])|(?<=[A-Za-z])(?=[\u3040-\u30ff\u4e00-\u9fff])")
_NOW = lazily("当前|目前|現在|现在|平均")
_CAMEL = lazily(r"(?<=[a-z]{3})(?=[A-Z])")
_PARENTHESIS = lazily(r"\s*[(\[{]([^()\[\]{}]{0,24})[)\]}]$")
_COPULA = lazily(r"\s(?:is|was|are|of|equals|about|approx\.?|at|é|es|ist|est)$", re.IGNORECASE)
_SEPARATOR = lazily(r"[|,;:{}()\[\]<>\"'\t!?=~`]|\s[-–—@*•·/]+\s|\s{2,}|\.\s|[-=]{2,}>?|->|\*{2,}|\.{2,}|…")
_NAME_END = lazily(r"\w[-/_.\\]$")
LABEL = lazily(r"[\w\s/@%.+#&-]{1,60}")
_AT = lazily(r"(.+?) (?:at|after|for|in|on|of) (?:the )?(\S+(?: \S+)?)", re.IGNORECASE)
_EDGE = lazily(r"^[\W_]+|[^\w%@)]+$")
_POSSESSIVE = lazily(r"\b(\w+?)(?:_0)?'s\s")
_FIRST_OF_MANY = lazily(r"\b(valid(?:ation)?|val|eval|test)_0(?=[\s_-])")
_LETTER = lazily(r"[^\W\d_]")
_TOKEN = lazily(r"(?<![\w./\\-])[^\W\d_]+(?![\w./\\])")
_VERBS = {"evaluating": "val", "validating": "val", "evaluate": "val", "validate": "val"}
UNIT = lazily(
    r"\s?(%|(?:ms|us|µs|ns|sec(?:ond)?s?|s|min(?:ute)?s?|mins|hours?|hrs?|h|days?|[KMGT]i?B|[kKMG])(?![\w/]|\s*[:=])"
    r"|[A-Za-z_]+/(?:s|sec|second|secs|it|step|iter|batch|epoch|sample|image|img|steps)\b(?!\s*[:=])\.?)"
)
_PER = lazily(
    r"(?:tok(?:en)?s?|words?|samples?|ex(?:amples?)?|im(?:g|age)s?|seq(?:uence)?s?|frames?|it(?:er(?:ation)?)?s?|steps?"
    r"|batch(?:es)?|updates?)/(?:s|sec|second)|(?:s|secs?|seconds?|ms)/(?:it|iter|iteration|step|batch|update)",
    re.IGNORECASE,
)
"""Speeds whose name is their unit."""
_WORK = lazily(
    r"(?:tok(?:en)?s?|words?|samples?|ex(?:amples?)?|im(?:g|age)s?|seq(?:uence)?s?)/(?:s|sec|second)", re.IGNORECASE
)
"""Those that are told behind a number, too; of steps, and of an item each, progress bars say it, as a mean."""
_SPEED = lazily(r"speed|throughput|rate|fps|ips|[tws]ps|time|per_|/s|performance|avg", re.IGNORECASE)
"""In the labels of numbers that a speed's unit may stand behind."""
_GLUED = lazily(r"[^\W\d]\w*(?!\w|\s*[:=])")
_SCALES = {"%": 0.01, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_BEHIND = lazily(r"\s?([^\W\d][\w/%@.-]*(?:[ _][^\W\d][\w/%@-]*){0,3})\s*(?=$|[|,;)\]}\t]|\s-\s|\s{2,}|\.\s)")
_NAMES_BEHIND = {"avg": "loss", "avg_loss": "loss", "rate": "lr", "mfu": "mfu", "bf16_mfu": "mfu", "ms": "time"}
"""Names that only stand behind their values: darknet's `0.5 avg, 0.001 rate`, llm.c's `60% bf16 MFU`."""


class Words(Struct, frozen=True):
    """What the text in front of a number says.

    Attributes:
        label: the words right before the number; empty where there are none.
        behind: the words right behind the number in front of the text, up to a separator; empty where there are none.
        unit: of the number in front of the text.
        split: the last split that the text names outside of a label.
        joint: how a text without words joins two numbers: `/` counter and total, `(` or `[` aside, `,` list, a blank.
        enclosed: nothing but a parenthesis parts the label from the number (`libgpg-error (1.46)`).
        whole: nothing stands between the words behind the last number and the next number.
        retold: it tells of saving or of the best so far, so what follows repeats what stands elsewhere.
    """

    label: str = ""
    behind: str = ""
    unit: str = ""
    split: str | None = None
    joint: str = ""
    enclosed: bool = False
    retold: bool = False
    whole: bool = False


class Meaning(Struct, frozen=True):
    """What a label stands for.

    Attributes:
        kind: `epoch`, `step`, `batch` (counts within an epoch or not, by its name), `other` (an axis that is neither),
            `split` (only a split is named), `metric`, or empty for a label that cannot be one.
        name: canonical name of a metric without regard to where it stands.
        split: that the label itself names.
        known: 2 for what is measured on a model (loss, accuracy, score), 1 for other known quantities (lr), else 0.
    """

    kind: str = ""
    name: str = ""
    split: str | None = None
    known: int = 0


def names_a_speed(literal: str, words: Words, before: str) -> bool:
    """Whether the unit of a speed between two numbers is the name of the second: `loss 2.1 tok/s 30029`.

    It is where it fills the text, apart from both, and the number before it has another name of its own.
    """
    apart = literal[:1].isspace() and literal.strip() == words.unit and "/" in words.unit
    return apart and bool(before) and _SPEED.search(before) is None


@lru_cache(20_000)
def words_of(text: str, first: bool = False) -> Words:
    """Reads the text in front of a number; `first` if it begins the line and so has no number before it."""
    text = _WRAPPED.sub("", text.translate(_WIDE))
    if not first and text.lstrip()[:1] in _ROUNDS:
        text = text.lstrip()[1:]
    bare = text.strip()
    if not bare:
        return Words(joint=" ")
    if bare in _OUT_OF:
        return Words(joint="/")
    if not first and bare in ("(", "±", "+/-", "+-", "[", "(+", "(=", "~"):
        return Words(joint="(" if bare != "[" else "[")
    if bare == "," and not first:
        return Words(joint=",")
    retold, split = _RETOLD.search(text) is not None, _split_in(text)
    # What is far from a number says nothing of it.
    unit, rest, behind = "", text, ""
    text = text[:NEAR]
    if not first:
        if found := _BEHIND.match(text):
            behind = found[1]
        if found := UNIT.match(text):
            unit, rest = found[1].rstrip("."), rest[found.end() :]
            if not behind and (named := _BEHIND.match(rest[:NEAR])):
                behind = named[1]
        elif glued := _GLUED.match(text):
            rest = rest[glued.end() :]  # the number is a part of this word (`3fa4f1`)
    # A bar parts a number from what is behind it; only a key that begins its line stands before one (`| loss | 0.5 |`).
    label = "" if not first and rest.rstrip().endswith("|") else _label(rest[-NEAR:])
    enclosed = rest.rstrip().endswith(("(", "<")) and not rest.rstrip(" (<").endswith((":", "="))
    # Words that fill the text up to the next number are that one's label.
    whole = bool(behind) and text.rstrip().endswith(behind)
    return Words(label, behind, unit, split, "", enclosed, retold, whole)


def _label(text: str) -> str:
    if "'" in text:
        text = _POSSESSIVE.sub(r"\1 ", text)
    if _NAME_END.search(text):
        return ""
    body = text.rstrip(" \t:=|>~*-–—'\"[({<@#≈_")
    if found := _PARENTHESIS.search(body):
        body = body[: found.start()].rstrip(" \t:=|>~-'\"")
    if found := _COPULA.search(body):
        body = body[: found.start()].rstrip(" :=")
    last = _SEPARATOR.split(body)[-1]
    label = _EDGE.sub("", last).strip()
    return label if LABEL.fullmatch(label) and _LETTER.search(label) else ""


def _split_in(text: str) -> str | None:
    # So TensorFlow's estimators log an evaluation: `Saving dict for global step 100: accuracy = 0.9, loss = 0.3`.
    found = "val" if "aving dict for" in text else None
    for word in _TOKEN.findall(_NOW.sub(" ", _SCRIPTS.sub(" ", text)) if not text.isascii() else text):
        split = _VERBS.get(word.lower()) or split_of(word)
        if split and (len(word) > 2 or not word.isascii()):
            found = split
    return found


@lru_cache(20_000)
def taken_apart(label: str) -> tuple[str, str] | None:
    """A quantity and the axis that it is logged at: of `Cost after epoch` and `Score at iteration`."""
    found = _AT.fullmatch(label)
    if found is None or meaning(found[1]).kind != "metric" or meaning(found[2]).kind not in ("epoch", "step", "batch"):
        return None
    return found[1], found[2]


@lru_cache(20_000)
def meaning(label: str) -> Meaning:
    """What a label means."""
    spelled = label if label.isascii() else _NOW.sub(" ", _SCRIPTS.sub(" ", label)).strip()
    spelled = _CAMEL.sub("_", _FIRST_OF_MANY.sub(r"\1", spelled))
    words = [w for w in normalized(spelled).split("_") if w]
    if "cost" in words and all(w == "cost" or split_of(w) or w in _QUALIFIERS for w in words):
        words = ["loss" if w == "cost" else w for w in words]  # but a `batch_cost` is one of time
    if len(words) > 1 and words[0] in ("metric", "the", "with", "and", "current"):
        words = words[1:]
    if not words or not any(map(_LETTER.search, words)):
        return Meaning()
    if _PER.fullmatch(label):
        return Meaning("metric", series_name("_".join(words)))
    if words[0] in ("start", "begin", "end") and "_" not in label:
        words = words[1:] or words
    joined = "_".join(words)
    if kind := _axis(words) or _axis(without_split(joined).split("_")):
        splits = [s for s in map(split_of, words) if s]
        return Meaning(kind, split=splits[-1] if splits else None)
    if _QUALIFIERS.issuperset(words) or (axis(words[-1]) in ("step", "epoch") and not _is_of_axis(words[:-1])):
        return Meaning()
    if all(split_of(w) and len(parts_of(w)) == 1 for w in words):
        return Meaning("split", split=split_of(words[-1]))
    if (
        joined in _LEFT_OUT
        or words[0] in ("eta", "remaining")
        or len(label.split()) > LONGEST
        or _SENTENCE & set(words)
    ):
        return Meaning()
    benchmark = bool(_BENCHMARKS & set(words)) and split_of(joined) is None
    outcome = (
        benchmark
        or is_known_quantity(joined)
        or any(w in _MEASURES or w.rstrip("0123456789") in _MEASURES for w in words)
    )
    if not outcome and len(joined) == 1 and joined.isascii():
        return Meaning()
    name = series_name(joined)
    known = 0
    if outcome and not _NO_OUTCOME & set(words):
        known = 1 if "/" not in name or words[-1] == "lr" else 2
    elif name == "train/loss":
        known = 2
    if benchmark and known == 2:
        return Meaning("metric", name.replace("train/", "val/", 1), "val", known)
    return Meaning("metric", name, split_of(joined), known)


def _is_of_axis(words: list[str]) -> bool:
    """Whether a name that ends in `step` or `epoch` is of a quantity by one: Lightning's `train_loss_step`."""
    quantity = series_name("_".join(words)).rpartition("/")[2]
    return quantity in ("loss", "accuracy") and not _QUALIFIERS & set(words)


def _axis(words: list[str]) -> str:
    joined, last = "_".join(words), words[-1]
    kind = axis(last)
    if joined in _NO_POSITIONS or not (
        kind in ("step", "epoch") or axis(joined) in ("step", "epoch") or last in _BATCHES | _OTHER_AXES
    ):
        return ""
    if len(words) > 1 and axis(joined) is None and not all(w in _BEFORE_AXIS for w in words[:-1]):
        return ""
    if last in _NO_POSITIONS and axis(joined) is None:
        return ""
    if last in _OTHER_AXES:
        return "other"
    if last in _BATCHES and words[0] != "global":
        return "batch"
    return "epoch" if kind == "epoch" or axis(joined) == "epoch" else "step"


def scale(unit: str) -> float:
    """What a number in this unit is multiplied by: per cent become a fraction, `1.2k` is 1200."""
    return _SCALES.get(unit, 1.0)


def meaning_behind(label: str) -> Meaning:
    """What a label behind its number means; only what is known, since any word can stand there."""
    plain = normalized(label)
    found = meaning(_NAMES_BEHIND.get(plain, label))
    return found if found.known or _WORK.fullmatch(label) or plain in _NAMES_BEHIND else Meaning()
