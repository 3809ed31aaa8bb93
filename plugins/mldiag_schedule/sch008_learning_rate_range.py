"""SCH008: the learning rate lies outside the range that is known for its optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from mldiag.api import (
    Batching,
    Curves,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Parameters,
    Program,
    Run,
    Settings,
    SettingValue,
    Severity,
    Source,
    Windows,
    as_number,
    edit_setting,
    rule,
)


class _Family(NamedTuple):
    """What is known of an optimizer: the range that recipes use, the limits of sense, a rate to begin with, and who."""

    name: str
    low: float
    high: float
    absurd: float
    usual: float
    source: str


_ADAM = _Family("Adam", 1e-6, 1e-2, 1.0, 1e-3, "Kingma and Ba 2015; recipes from GPT-3 to nanoGPT")
_FAMILIES = {
    "adam": _ADAM,
    "rmsprop": _ADAM._replace(name="RMSprop", source="Hinton 2012; Mnih et al. 2015"),
    "lamb": _ADAM._replace(name="LAMB", high=3e-2, absurd=10.0, usual=2e-3, source="You et al. 2020"),
    "lion": _Family("Lion", 1e-7, 1e-3, 0.1, 1e-4, "Chen et al. 2023: 3 to 10 times below Adam's"),
    "sophia": _Family("Sophia", 1e-7, 1e-2, 1.0, 3e-4, "Liu et al. 2023"),
    "adafactor": _Family("Adafactor", 1e-5, 5e-2, 10.0, 1e-3, "Shazeer and Stern 2018; Raffel et al. 2020"),
    "adagrad": _Family("Adagrad", 1e-4, 1.0, 100.0, 1e-2, "Duchi et al. 2011"),
    "muon": _Family("Muon", 1e-4, 0.3, 10.0, 2e-2, "Jordan et al. 2024"),
    "sgd": _Family("SGD", 1e-5, 30.0, 100.0, 1e-1, "Goyal et al. 2017; Merity et al. 2018 (30 without momentum)"),
}
_SPELLED = {
    "adam": (
        "adam", "adamw", "nadam", "nadamw", "radam", "adamax", "adabelief", "amsgrad", "adamwtorch", "adamwtorchfused",
        "adamwhf", "adamwapexfused", "fusedadam", "fusedadamw", "deepspeedcpuadam", "cpuadam", "adam8bit", "adamw8bit",
        "adamwbnb8bit", "pagedadamw", "pagedadamw8bit", "pagedadamw32bit", "adamwtorchxla", "adamweightdecay",
        "bertadam", "adamwanyprecision", "stableadamw", "cadamw",
    ),
    "rmsprop": ("rmsprop", "rmspropw", "rmsproptf"),
    "lamb": ("lamb", "fusedlamb", "nvlamb"),
    "lion": ("lion", "lion8bit", "lion32bit", "pagedlion", "pagedlion8bit", "pagedlion32bit"),
    "sophia": ("sophia", "sophiag", "sophiah"),
    "adafactor": ("adafactor",),
    "adagrad": ("adagrad", "sparseadagrad"),
    "muon": ("muon", "muonwithauxadam", "singledevicemuon"),
    "sgd": ("sgd", "sgdm", "sgdw", "sgdp", "momentum", "nesterov", "momentumsgd", "momentumoptimizer"),
}  # fmt: skip
_BY_NAME = {spelled: family for family, names in _SPELLED.items() for spelled in names}
_NOT_JUDGED = frozenset({
    "adadelta", "prodigy", "dadaptadam", "dadaptsgd", "dadaptadan", "lbfgs", "rprop", "lars", "larc", "ftrl", "asgd",
    "shampoo", "soap", "schedulefree", "adamwschedulefree", "sgdschedulefree", "schedulefreeadamw", "gradientboosting",
})  # fmt: skip
"""Optimizers whose rate has another scale, or that find their own."""
_FACTORED = ("noam", "inverse_sqrt", "inverse_square_root", "rsqrt", "invsqrt", "inv_sqrt", "transformer", "relative")
"""Schedules whose rate is a factor of something small, as the 2.0 of tensor2tensor's Noam schedule is."""
_BOOSTED = (
    "num_leaves",
    "n_estimators",
    "num_boost_round",
    "max_depth",
    "boosting",
    "objective",
    "tree_method",
    "l2_leaf_reg",
)
_PRETRAINED = ("model_name_or_path", "_name_or_path", "pretrained_model_name_or_path", "base_model", "finetune")
_ADAPTERS = ("lora_r", "lora_rank", "lora_alpha", "adapter_dim", "peft_type")
_SMALLEST, _LARGEST = 768, 1.5e9
"""Parameters between which Kaplan et al. fitted their rate (appendix D.6: models of 768 to 1.5 billion)."""
_TABLE = ((1.3e9, 2e-4), (2.7e9, 1.6e-4), (6.7e9, 1.2e-4), (1.3e10, 1e-4), (1.75e11, 0.6e-4))
"""GPT-3's rates by parameters (Brown et al. 2020, table 2.1), for models above that."""
_PER_256 = 0.1
"""SGD with momentum 0.9 for 256 images (He et al. 2016; Goyal et al. 2017), growing with the batch."""

_HEAVY = 0.8
"""Momentum from which a step goes on for more than five others, so that rates above ten have no use."""
_WITH_MOMENTUM = 10.0
"""Three times the rate for a batch of 8,192 images, which needs a warm-up (3.2; Goyal et al. 2017)."""


class _Rate(NamedTuple):
    value: float
    source: Source | None
    setting: SettingValue | None
    how: str
    logged: bool


@rule("SCH008", severity="warning", pre=True, explains=())
def learning_rate_range(
    settings: Settings | None,
    program: Program | None,
    curves: Curves | None,
    parameters: Parameters | None,
    windows: Windows | None,
    batching: Batching | None,
    run: Run,
    *,
    too_low: float = 1e-7,
    too_high: float = 100.0,
    span: float = 10.0,
    batch_span: float = 100.0,
) -> Iterator[Finding]:
    """The learning rate lies outside the range that is known for its optimizer, model and batch.

    ## What it checks
    The highest learning rate, as logged, else as stated, against what its optimizer is known to take. The optimizer is
    known by the settings, by the only family that the source calls, or as the default of Hugging Face's Trainer.

    | optimizer | known range | a warning from |
    |---|---|---|
    | Adam, AdamW, NAdam, RAdam, RMSprop | 1e-6 to 1e-2 | 1 |
    | … fine-tuning a language model | 1e-7 to 5e-4 | 1 |
    | … with adapters (LoRA) | 1e-7 to 2e-3 | 1 |
    | … a language model of N parameters | `span` times lr(N) either way | 100 · `span` · lr(N), at most 1 |
    | LAMB | 1e-6 to 3e-2 | 10 |
    | Lion, Sophia | 1e-7 to 1e-3, 1e-2 | 0.1, 1 |
    | Adafactor | 1e-5 to 5e-2 | 10 |
    | Adagrad | 1e-4 to 1 | 100 |
    | Muon | 1e-4 to 0.3 | 10 |
    | SGD | 1e-5 to 30; with momentum to `batch_span` · 0.1 · batch / 256 | 100; with momentum 10 |

    Outside the range is an information, beyond the last column a warning, and so is any rate down to `too_low`. lr(N) =
    0.003239 − 0.0001395 ln N up to 1.5 billion parameters, GPT-3's table above. Of an unknown optimizer only rates
    down to `too_low` and from `too_high` are told.

    ## Why it matters
    A rate that is orders of magnitude too low moves nothing: the loss stays where the initialization put it. One too
    high throws the weights out of the region where the gradient holds, in the first steps. Both look like a bug in the
    model or the data.

    ## Inputs
    Series `lr`; settings `lr`, `optimizer`, `momentum`, `batch_size`, `grad_accum`, `devices`; calls in the source;
    the parameters of a language model.

    ## Options
    - `too_low` (1e-7, no unit): the lowest of published recipes is 3e-7 (preference tuning, Meng et al. 2024). Of 380
      labelled runs, healthy ones begin at 5e-7; those labelled as too low end at 1e-8.
    - `too_high` (100, no unit): from which a rate of an unknown optimizer is too high; language models with plain SGD
      take up to 30.
    - `span` (10, factor): around lr(N). Small models on small data train well at 3 to 5 times lr(N).
    - `batch_span` (100, factor): above the linear scaling rule of SGD with momentum.

    ## Fix
    Unsafe: sets the rate to the usual one of the optimizer, lr(N) where the model's size is known. The best rate is
    found by trying; this one trains.

    ## When to ignore
    A rate that was found by a search, or is a factor of a schedule of your own, and a model that is known to train.

    ## Source
    Kaplan et al. 2020, "Scaling Laws for Neural Language Models", equation D.1; Brown et al. 2020, table 2.1; Touvron
    et al. 2023, table 2; Goyal et al. 2017 (linear scaling); Hu et al. 2022 and Dettmers et al. 2023 (adapters);
    Devlin et al. 2019 (fine-tuning at 2e-5 to 5e-5); Chen et al. 2023 (Lion); Shazeer and Stern 2018 (Adafactor).
    """
    found = settings or Settings()
    rate, highest = _rate(found, program, curves)
    named, place = _optimizer(found, program)
    supposed = named is None and curves is not None
    if supposed:
        named, place = _default_of_trainer(run)
    if named in _NOT_JUDGED:
        raise NotApplicable(f"the rate of {named} has a scale of its own")
    if named is None and any(name in found for name in _BOOSTED):
        raise NotApplicable("the learning rate of boosted trees is a weight of each tree")
    family = _FAMILIES[_BY_NAME[named]] if named is not None else None
    if family is not None and supposed:
        family = family._replace(low=1e-7)  # most who use that trainer fine-tune
    fits = _fitted(family, found, program, parameters, windows, batching, span, batch_span)
    evidence = [Evidence("learning rate", rate.value, at=rate.source)]
    if place is not None and named is not None:
        evidence.append(Evidence("optimizer", named, at=place))
    if 0 < highest <= too_low * (1 + _EXACT):
        usual = fits[0].usual if fits else None
        yield _finding(rate, "at most", too_low, evidence, usual, ("CUR003", "CUR007", "CUR014"), "too low to move", "")
        return
    if not rate.logged and _is_factor(found):
        raise NotApplicable("the stated rate is a factor of its schedule")
    if fits is None:
        if rate.value >= too_high:
            yield _finding(rate, "from", too_high, evidence, None, _BREAKS, "too high for any optimizer known", "")
        elif family is None:
            raise NotApplicable("nothing says which optimizer the learning rate is of")
        return
    meant, why, more = fits
    evidence += more
    if rate.value >= meant.absurd:
        yield _finding(rate, "from", meant.absurd, evidence, meant.usual, _BREAKS, f"too high for {why}", meant.source)
    elif rate.value > meant.high * (1 + _EXACT) or 0 < highest < meant.low * (1 - _EXACT):
        side, limit = ("above", meant.high) if rate.value > meant.high else ("below", meant.low)
        evidence[0] = Evidence("learning rate", rate.value, limit, rate.source)
        evidence += (Evidence("lowest usual rate", meant.low), Evidence("highest usual rate", meant.high))
        yield Finding(
            f"the learning rate is {rate.value:g}{rate.how}, {side} the {meant.low:g} to {meant.high:g} that are usual "
            f"for {why}",
            at=rate.source,
            evidence=tuple(evidence),
            advice=f"try {meant.usual:g}, where recipes begin ({meant.source})",
            severity=Severity.INFO,
            explains=(),
        )


_BREAKS = ("CUR003", "CUR004", "CUR005", "CUR006", "CUR008", "CUR014", "CUR017")
_EXACT = 1e-6


def _finding(
    rate: _Rate,
    word: str,
    limit: float,
    evidence: list[Evidence],
    usual: float | None,
    explains: tuple[str, ...],
    why: str,
    source: str,
) -> Finding:
    evidence[0] = Evidence("learning rate", rate.value, limit, rate.source)
    fix = None
    if usual is not None:
        fix = Fix.unsafe(
            f"set the learning rate to {usual:g}, where recipes begin",
            edit_setting(rate.setting, usual) if rate.setting is not None else None,
        )
    return Finding(
        f"the learning rate is {rate.value:g}{rate.how}, {why} ({word} {limit:g}{'; ' + source if source else ''})",
        at=rate.source,
        evidence=tuple(evidence),
        advice="" if fix else "set it to what the optimizer's recipes use: 1e-3 or 3e-4 for Adam, 0.1 for SGD",
        fix=fix,
        explains=explains,
    )


def _rate(settings: Settings, program: Program | None, curves: Curves | None) -> tuple[_Rate, float]:
    """The rate that is judged, and the highest of the stated and the logged ones: a log may show a warm-up only."""
    stated = settings.effective("lr")
    number = as_number(stated.value) if stated is not None else None
    if stated is not None and stated.role == "default" and (program is None or program.launch is None):
        number = None  # nobody says that this default was used
    curve = curves.get("lr") if curves is not None else None
    logged = max(curve.values) if curve is not None and len(curve.values) else None
    if logged is not None and logged > 0 and curve is not None:
        how = " at its highest" if min(curve.values) < logged else ""
        same = stated if number is not None and math.isclose(number, logged, rel_tol=1e-3) else None
        source = same.source if same is not None else curve.source
        return _Rate(float(logged), source, same, how, True), max(logged, number or 0.0)
    if number is None or stated is None:
        raise NotApplicable("no learning rate is logged or stated")
    return _Rate(number, stated.source, stated, "", False), number


def _optimizer(settings: Settings, program: Program | None) -> tuple[str | None, Source | None]:
    """The optimizer's name without signs, in lower case, with its place; None where nothing names one family."""
    stated = settings.effective("optimizer")
    if stated is not None and isinstance(stated.value, str):
        name = _plain(stated.value)
        if name in _BY_NAME or name in _NOT_JUDGED:
            return name, stated.source
    if program is None:
        return None, None
    calls: dict[str, tuple[str, Source]] = {}
    for source in program.sources:
        for call in source.calls:
            passed = call.keywords.get("optimizer") if call.last == "compile" else None
            name = _plain(passed) if isinstance(passed, str) else _plain(call.last)
            if name == "momentum":
                continue
            if name in _BY_NAME or name in _NOT_JUDGED:
                calls.setdefault(_BY_NAME.get(name, name), (name, call.source))
    return next(iter(calls.values())) if len(calls) == 1 else (None, None)


def _default_of_trainer(run: Run) -> tuple[str | None, Source | None]:
    """AdamW where Hugging Face's Trainer wrote the log and nothing says otherwise."""
    path = next((path for path, reader in run.files.items() if reader == "trainer_state"), None)
    return (None, None) if path is None or "optimizer" in run.settings else ("adamw", Source(path))


def _plain(name: str) -> str:
    last = name.rpartition(".")[2]
    return "".join(c for c in last.lower() if c.isalnum())


def _is_factor(settings: Settings) -> bool:
    schedule = str(settings.get("lr_schedule") or "").lower().replace("-", "_")
    return any(word in schedule for word in _FACTORED) or settings.get("relative_step", bool) is True


def _fitted(
    family: _Family | None,
    settings: Settings,
    program: Program | None,
    parameters: Parameters | None,
    windows: Windows | None,
    batching: Batching | None,
    span: float,
    batch_span: float,
) -> tuple[_Family, str, list[Evidence]] | None:
    """The range of an optimizer for this model and batch, in words, with what it rests on."""
    if family is None:
        return None
    if family.name == "SGD":
        return _for_batch(family, settings, program, batching, batch_span)
    if family.name != "Adam":
        return family, family.name, []
    adapters = any(settings.get(name) not in (None, False, 0, "") for name in _ADAPTERS)
    if adapters:
        fitted = family._replace(low=1e-7, high=2e-3, usual=2e-4, source="Hu et al. 2022; Dettmers et al. 2023")
        return fitted, "adapters with Adam", []
    if any(settings.get(name) not in (None, False, "", 0, "None", "none") for name in _PRETRAINED):
        fitted = family._replace(low=1e-7, high=5e-4, usual=5e-5, source="Devlin et al. 2019")
        return fitted, "fine-tuning with Adam", []
    if parameters is not None and windows is not None and windows.text and not parameters.assumed:
        count = parameters.count
        usual = _of_size(count)
        fitted = _Family(
            family.name, usual / span, usual * span, min(family.absurd, 100 * span * usual), float(f"{usual:.1g}"),
            "Kaplan et al. 2020, equation D.1; Brown et al. 2020, table 2.1",
        )  # fmt: skip
        why = f"Adam and a language model of {count / 1e6:,.3g} million parameters"
        return fitted, why, [Evidence("parameters", count, at=parameters.source)]
    return family, f"{family.name}", []


def _of_size(count: float) -> float:
    """The rate for Adam and a language model of so many parameters."""
    if count <= _LARGEST:
        return 0.003239 - 0.0001395 * math.log(max(count, _SMALLEST))
    return next((rate for size, rate in _TABLE if count <= size), _TABLE[-1][1])


def _for_batch(
    family: _Family, settings: Settings, program: Program | None, batching: Batching | None, batch_span: float
) -> tuple[_Family, str, list[Evidence]]:
    momentum, place = settings.get("momentum", float), settings.where("momentum")
    if momentum is None and program is not None:
        called = ((as_number(c.keywords.get("momentum")), c.source) for c in program.calls_to("SGD"))
        momentum, place = next(((m, s) for m, s in called if m is not None), (None, None))
    if momentum is None or momentum < _HEAVY:
        return family, "SGD", []
    family = family._replace(high=_WITH_MOMENTUM, absurd=_WITH_MOMENTUM)
    evidence = [Evidence("momentum", momentum, _HEAVY, place)]
    if batching is None:
        return family._replace(high=family.absurd), "SGD with momentum", evidence
    batch = batching.batch_size.value * batching.accumulation * batching.devices
    usual = _PER_256 * batch / 256
    evidence.append(Evidence("batch", batch, at=batching.batch_size.source))
    high = min(family.high, max(1.0, batch_span * usual))
    return (
        family._replace(high=high, usual=float(f"{usual:.1g}")),
        f"SGD with momentum and a batch of {batch:g}",
        evidence,
    )
