"""What keeps a run from harm: gradient clipping, early stopping, the best checkpoint, a validation split."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from mldiag.artifacts import Call, Metrics, Settings, Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.early_stopping import EARLY_STOPPING_CALLS
from mldiag.facts.training_source import TrainingSource
from mldiag.patterns import lazily

MIN_POINTS = 10
"""Logged training points from which on a run without any evaluation was not evaluated, rather than cut early."""

_ENVIRONMENTS = frozenset({
    "gym", "gymnasium", "stable_baselines3", "sb3_contrib", "pettingzoo", "dm_control", "dm_env", "procgen", "envpool",
    "brax", "tianshou",
})  # fmt: skip
_ADVERSARIES = ("discriminator", "netd")

_PATIENCE = ("patience", "early_stop", "geduld", "paciencia", "paciência", "pazienza", "早停")
_BEST = ("best", "melhor", "mejor", "meilleur", "miglior", "最佳")

_EVALUATED = lazily(r"val|eval|test|dev")


class Safeguard(Struct, frozen=True):
    """One safeguard. `present` is None where neither source nor settings tell; `at` shows what decided."""

    name: str
    present: bool | None
    at: Source | None = None


class Safeguards(Struct, frozen=True):
    """The four safeguards, in the order in which they are listed to people."""

    items: tuple[Safeguard, ...]

    @property
    def missing(self) -> tuple[Safeguard, ...]:
        return tuple(s for s in self.items if s.present is False)

    @property
    def known(self) -> tuple[Safeguard, ...]:
        return tuple(s for s in self.items if s.present is not None)


@fact
def safeguards(settings: Settings | None, source: TrainingSource | None, metrics: Metrics | None) -> Safeguards:
    """Reads settings first, since a setting of 0 switches off what the source could do, then the source."""
    found = settings or Settings()
    trainer = _trainer_arguments(found)
    if source is None and not trainer:
        raise NotApplicable("no whole source of the training program, and no framework's record of its arguments")
    if source is not None and (why := _unlike_supervised(source)):
        raise NotApplicable(why)
    result = Safeguards(
        (
            _clipping(found, source),
            _early_stopping(found, source),
            _best_checkpoint(found, source),
            _validation(found, source, metrics),
        )
    )
    if not result.known:
        raise NotApplicable("neither settings nor source tell of any safeguard")
    return result


def _unlike_supervised(source: TrainingSource) -> str:
    """Why no loss on held-out data says when the program is best, as a clause; empty where one does."""
    found = source.libraries & _ENVIRONMENTS
    if found:
        return f"the program acts in an environment ({', '.join(sorted(found))}), where no validation loss stops it"
    names = {n.lower() for n in source.names}
    adversary = next((n for n in sorted(names) if n.startswith(_ADVERSARIES)), None)
    if adversary is None or not any(n.startswith(("generator", "netg")) for n in names):
        return ""
    return f"the program trains against {adversary}, where no validation loss stops it"


def _trainer_arguments(settings: Settings) -> bool:
    """The settings hold a dump of Hugging Face's `TrainingArguments`, which names every argument."""
    return "load_best_model_at_end" in settings and ("eval_strategy" in settings or "evaluation_strategy" in settings)


def _clipping(settings: Settings, source: TrainingSource | None) -> Safeguard:
    name = "gradient clipping"
    limit = settings.get("clip_norm", float)
    if limit is not None:
        return Safeguard(name, limit > 0, settings.where("clip_norm"))
    if source is None:
        return Safeguard(name, None)
    if _uses_trainer(source):
        return Safeguard(name, True)  # `max_grad_norm` is 1.0 by default
    calls = ("clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "clip_by_global_norm", "clip_by_norm",
             "clip_by_value", "clip_gradients", "adaptive_grad_clip", "adaptive_clip_grad")  # fmt: skip
    keywords = ("clipnorm", "clipvalue", "global_clipnorm", "gradient_clip_val", "max_grad_norm", "grad_clip")
    return _seen(name, source, calls, keywords, ("grad_clip", "clip_grad", "gradient_clip", "clip_norm", "clip_value"))


def _early_stopping(settings: Settings, source: TrainingSource | None) -> Safeguard:
    name = "early stopping"
    patience = settings.get("patience", float)
    if patience is not None:
        return Safeguard(name, patience > 0, settings.where("patience"))
    wanted = settings.get("early_stopping", bool)
    if wanted is None:
        counted = settings.get("early_stopping", float)
        wanted = None if counted is None else counted > 0
    if wanted is not None:
        return Safeguard(name, wanted, settings.where("early_stopping"))
    if source is not None:
        keywords = ("early_stopping_patience", "early_stopping_rounds")
        return _seen(name, source, EARLY_STOPPING_CALLS, keywords, _PATIENCE)
    # Hugging Face's callback asserts `load_best_model_at_end`, so without that there is none.
    best = settings.get("load_best_model_at_end", bool)
    return Safeguard(name, None if best else False, settings.where("load_best_model_at_end"))


def _best_checkpoint(settings: Settings, source: TrainingSource | None) -> Safeguard:
    name = "best checkpoint"
    kept = settings.get("load_best_model_at_end", bool)
    if kept is not None:
        return Safeguard(name, kept, settings.where("load_best_model_at_end"))
    if source is None:
        return Safeguard(name, None)
    for call in source.calls_to("ModelCheckpoint", "EarlyStopping"):
        if call.keywords.get("save_best_only") or call.keywords.get("restore_best_weights"):
            return Safeguard(name, True, call.source)
        # Lightning keeps the best by what it monitors; Keras' callback has the same keyword for save_best_only.
        if call.last == "ModelCheckpoint" and "lightning" in call.resolved and "monitor" in call.keywords:
            return Safeguard(name, True, call.source)
    keywords = ("load_best_model_at_end", "save_best_model", "checkpoint_score_attribute")
    least = ("lowest_loss", "min_loss", "min_val_loss")
    best = next((n for n in source.names if n in least or any(word in n.lower() for word in _BEST)), None)
    if best is not None and any(c.last.startswith("save") for c in source.calls):
        return Safeguard(name, True)
    return _seen(name, source, (), keywords, ())


def _validation(settings: Settings, source: TrainingSource | None, metrics: Metrics | None) -> Safeguard:
    name = "validation split"
    logged = next((s for s in metrics or () if s.name.startswith(("val/", "test/")) and len(s)), None)
    if logged is not None:
        return Safeguard(name, True, logged.source)
    for key in ("eval_strategy", "evaluation_strategy"):
        strategy = settings.get(key, str)
        if strategy is not None:
            return Safeguard(name, strategy.lower().rsplit(".", 1)[-1] != "no", settings.where(key))
    if source is None:
        return Safeguard(name, None)
    trained = next((s for s in metrics or () if s.name.startswith("train/") and len(s) >= MIN_POINTS), None)
    if trained is not None and not any(_EVALUATED.search(s.raw_name.lower()) for s in metrics or ()):
        return Safeguard(name, False, trained.source)
    calls = ("evaluate", "validate", "train_test_split", "random_split", "KFold", "StratifiedKFold", "cross_val_score",
             "eval", "validation_step")  # fmt: skip
    keywords = ("validation_data", "validation_split", "eval_dataset", "val_dataloaders", "eval_set", "valid_sets")
    seen = _seen(name, source, calls, keywords, ("val", "valid", "validation", "eval", "dev", "holdout"))
    # Data for a test may be what is looked at after every epoch.
    tested = not seen.present and any("_test_" in f"_{read.lower()}_" for read in source.names)
    return Safeguard(name, None) if tested else seen


def _uses_trainer(source: TrainingSource) -> bool:
    return "transformers" in source.libraries and any(c.last.endswith("Trainer") for c in source.calls)


def _seen(
    name: str, source: TrainingSource, calls: Iterable[str], keywords: Iterable[str], words: Iterable[str]
) -> Safeguard:
    """Present where the source calls one of the functions, passes one of the keywords, or reads such a name.

    Args:
        words: parts of identifiers, as a whole or up to an underscore (`val` fits `val_loader`, not `value`).
    """
    made = next(source.calls_to(*calls), None) or _passing(source.calls, keywords)
    if made is not None:
        return Safeguard(name, True, made.source)
    stems = tuple(words)
    for read in source.names:
        lowered = read.lower()
        if any(f"_{stem}_" in f"_{lowered}_" for stem in stems):
            return Safeguard(name, True)
    return Safeguard(name, False, source.place)


def _passing(calls: Iterable[Call], keywords: Iterable[str]) -> Call | None:
    """The first call with one of the keywords, unless it is switched off in so many words (None is no literal)."""
    wanted = tuple(keywords)
    return next((c for c in calls for k in wanted if k in c.keywords and c.keywords[k] not in (False, 0)), None)
