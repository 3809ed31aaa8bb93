"""CFG011: a weight decay outside the range that is known for its optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from mldiag.api import (
    Call,
    Curves,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Plan,
    Program,
    Role,
    Settings,
    SettingValue,
    Severity,
    Source,
    as_number,
    edit_setting,
    rule,
)


class _Kind(NamedTuple):
    """How an optimizer decays weights: the highest usual value, one to begin with, and who says so."""

    name: str
    high: float
    usual: float
    source: str


_ADAMW = _Kind("AdamW", 0.3, 0.01, "PyTorch 0.01; GPT-3 0.1; DeiT and ConvNeXt 0.05; ViT 0.3")
_LION = _Kind("Lion", 3.0, 0.1, "Chen et al. 2023: 3 to 10 times AdamW's")
_SGD = _Kind("SGD", 1e-2, 1e-4, "He et al. 2016 1e-4; Ultralytics 5e-4")
_L2 = _Kind("Adam's L2 term", 5e-3, 1e-4, "Kipf and Welling 2017 5e-4; Loshchilov and Hutter 2019")
_UNKNOWN = _Kind("any optimizer", 1.0, 0.01, "")

# Keys of the decay itself; `decay` is mostly that of a rate or an average, `l2` a term of the loss.
_KEYS = frozenset(
    {"weight_decay", "wd", "adamw_weight_decay", "weightdecay", "adam_weight_decay", "optim_weight_decay"}
)
_BOOSTED = ("num_leaves", "n_estimators", "num_boost_round", "max_depth", "tree_method", "l2_leaf_reg")


@rule("CFG011", severity="warning", pre=True, explains=("CUR003", "CUR007", "CUR014", "CKP002"))
def weight_decay_range(
    settings: Settings | None,
    program: Program | None,
    plan: Plan | None,
    curves: Curves | None,
    *,
    max_shrink: float = 0.01,
    max_l2: float = 0.1,
) -> Iterator[Finding]:
    """The weight decay is outside the range that is known for its optimizer.

    ## What it checks
    Decoupled decay takes the share `lr × weight_decay` off every weight at each step, and SGD's as well, divided by
    `1 - momentum`: over a run weights shrink by `exp(-Σ lr × weight_decay)` where no gradient holds them up. A decay
    above the usual range that takes `max_shrink` or more at each step is a warning: what is learned is forgotten
    within a hundred steps. A decay above the range that takes less is told as information.

    | decay | usual |
    |---|---|
    | AdamW and others with decoupled decay | 0 to 0.3 |
    | Lion | 0 to 3 |
    | SGD | 0 to 0.01 |
    | `torch.optim.Adam(weight_decay=)`, which adds an L2 term to the gradient | 0 to 0.005; a warning from `max_l2` |

    0.1 for AdamW is usual and no finding; nor is 0. A decay below zero, which makes weights grow, is a warning.

    ## Why it matters
    Weights that are pulled to zero faster than gradients push them away stay small: the loss stops high, and rates or
    data are blamed. Adam divides the L2 term by the gradient's own size, so that weights with large gradients are
    hardly decayed at all, and those without any are driven to zero at the full learning rate.

    ## Inputs
    Settings `weight_decay`, `lr`, `optimizer`, `momentum`, else the numbers that the source gives its one optimizer of
    PyTorch; the logged rates, whose mean replaces the stated one, and the steps of the run.

    ## Options
    `max_shrink` (default 0.01 of a weight a step, a half-life of 69 steps; of 184 labelled runs that state a decay the
    healthy ones reach 0.0004, those that it broke 0.05 and more); `max_l2` (default 0.1).

    ## Fix
    Unsafe: sets the decay to what recipes begin with. How much decay is best is learned by trying.

    ## When to ignore
    Small data seen many times, where decays of 1 to 3 were found best with small rates (Kim et al. 2025).

    ## Source
    Loshchilov and Hutter 2019 (decoupled decay); Brown et al. 2020, appendix B (0.1); Touvron et al. 2021, table 9
    (0.05); Dosovitskiy et al. 2021, table 3 (0.3); Liu et al. 2022 (0.05); He et al. 2016 (1e-4); Chen et al. 2023.
    """
    settings = settings or Settings()
    call = _written(program) if "weight_decay" not in settings else None
    if call is not None:
        number = as_number(call.keywords["weight_decay"])
        source: Source | None = call.where.get("weight_decay", call.source)
        decay, amount = None, number or 0.0
        place: Source | None = call.source
        kind = _by_call(call)
    else:
        decay, amount = _decay(settings, program)
        source = decay.source
        kind, place = _optimizer(settings, program) if amount > 0 else (_UNKNOWN, None)
    if amount == 0 or kind is None:
        return
    title = f"set the weight decay to {kind.usual:g}"
    fix = Fix.unsafe(title, edit_setting(decay, kind.usual)) if decay is not None else Fix.show(title)
    if amount < 0:
        yield Finding(
            f"the weight decay is {amount:g}: below zero it makes weights grow",
            at=source,
            evidence=(Evidence("weight decay", amount, 0, source),),
            fix=fix,
        )
        return
    if amount <= kind.high:
        return
    evidence = [Evidence("weight decay", amount, kind.high, source)]
    if place is not None:
        evidence.append(Evidence("optimizer", kind.name, at=place))
    told = f"the weight decay is {amount:g}, above the {kind.high:g} that is the most usual for {kind.name}"
    shrink = None
    rate = _rate(settings, curves, call)
    if rate is not None and kind is not _L2:
        value, at, what = rate
        momentum = settings.get("momentum", float) if kind is _SGD else None
        shrink = value * amount / (1 - momentum if momentum is not None and 0 < momentum < 1 else 1)
        evidence.append(Evidence(what, value, at=at))
        if kind is _SGD and momentum is not None:
            evidence.append(Evidence("momentum", momentum, at=settings.where("momentum")))
        evidence.append(Evidence("share of a weight taken off at each step", shrink, max_shrink))
        told += f": with a {what} of {value:.3g} it takes {_percent(shrink)} off every weight at each step"
        if 0 < shrink < 1:
            half = math.log(2) / -math.log1p(-shrink)
            evidence.append(Evidence("half-life of a weight", half, unit="step"))
            told += f", half of it in {half:,.3g} steps"
            steps = plan.run_steps if plan is not None else None
            if steps is not None:
                evidence.append(Evidence("steps of the run", steps.value, at=steps.source, unit="step"))
                evidence.append(Evidence("Σ lr × weight decay", shrink * steps.value))
                told += f"; over {steps.value:,.0f} steps Σ lr × weight decay is {shrink * steps.value:,.3g}"
    strong = amount >= max_l2 if kind is _L2 else shrink is not None and shrink >= max_shrink
    if kind is _UNKNOWN and not strong:
        raise NotApplicable("nothing says which optimizer the weight decay is of")
    yield Finding(
        told,
        at=source,
        evidence=tuple(evidence),
        severity=None if strong else Severity.INFO,
        fix=fix,
        advice="with AdamW, weights decay apart from their gradients" if kind is _L2 else "",
        explains=None if strong else (),
    )


def _written(program: Program | None) -> Call | None:
    """The optimizer of PyTorch whose decay is a number in the source, where there is one such call and no other."""
    made = [
        c
        for s in (program.sources if program is not None else ())
        for c in s.calls
        if c.resolved.startswith("torch.optim.") and "lr_scheduler" not in c.resolved and c.last[:1].isupper()
    ]
    return made[0] if len(made) == 1 and as_number(made[0].keywords.get("weight_decay")) is not None else None


def _by_call(call: Call) -> _Kind | None:
    return _L2 if call.last == "Adam" and not call.keywords.get("decoupled_weight_decay") else _by_name(call.last)


def _decay(settings: Settings, program: Program | None) -> tuple[SettingValue, float]:
    decay = settings.effective("weight_decay")
    if decay is None:
        raise NotApplicable(settings.ambiguous.get("weight_decay", "no setting weight_decay"))
    number = as_number(decay.value)
    if number is None:
        raise NotApplicable(f"weight_decay is {decay.value!r}, which is no number, at {decay.source}")
    # A default in the source has no key: it is known by its option.
    if decay.source.key is not None and decay.key not in _KEYS:
        raise NotApplicable(f"{decay.source.key} at {decay.source} may decay something else than weights")
    if decay.role is Role.DEFAULT and (program is None or program.launch is None):
        raise NotApplicable("a default in the source, of which nobody says that it was used")
    if any(name in settings for name in _BOOSTED):
        raise NotApplicable("boosted trees have no weights that decay")
    return decay, number


def _optimizer(settings: Settings, program: Program | None) -> tuple[_Kind, Source | None]:
    """How weights are decayed; unknown where several optimizers could be the run's."""
    stated = settings.effective("optimizer")
    if stated is not None and isinstance(stated.value, str):
        kind = _by_name(stated.value)
        if kind is not None:
            return kind, stated.source
    called: dict[_Kind, Source] = {}
    for source in program.sources if program else ():
        for call in source.calls:
            kind = _by_name(call.last) if "optim" in call.resolved or "keras" in call.resolved else None
            if call.resolved in ("torch.optim.Adam", "torch.optim.adam.Adam"):
                kind = _L2 if "weight_decay" in call.keywords else None
            if kind is not None:
                called.setdefault(kind, call.source)
    return next(iter(called.items())) if len(called) == 1 else (_UNKNOWN, None)


def _by_name(name: str) -> _Kind | None:
    """An optimizer by the name that settings give it; of plain `adam` nothing tells how it decays."""
    plain = "".join(c for c in name.rpartition(".")[2].lower() if c.isalnum())
    if "lion" in plain:
        return _LION
    if "adamw" in plain or plain in ("lamb", "fusedlamb", "adafactor", "muon", "sgdw"):
        return _ADAMW
    return _SGD if plain in ("sgd", "sgdm", "momentum", "nesterov", "momentumsgd") else None


def _rate(settings: Settings, curves: Curves | None, call: Call | None) -> tuple[float, Source | None, str] | None:
    """The mean of the logged rates, else the stated one, else that of the call with the decay."""
    curve = curves.get("lr") if curves is not None else None
    if curve is not None and len(curve.values):
        mean = math.fsum(curve.values) / len(curve.values)
        if math.isfinite(mean) and mean > 0:
            same = max(curve.values) == min(curve.values)
            return mean, curve.source, "learning rate" if same else "mean logged learning rate"
    stated = settings.effective("lr")
    number = as_number(stated.value) if stated is not None else None
    if stated is not None and number is not None and number > 0:
        return number, stated.source, "learning rate"
    written = as_number(call.keywords.get("lr")) if call is not None and stated is None else None
    return (written, call.where["lr"], "learning rate") if call is not None and written and written > 0 else None


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
