"""CFG009: random numbers that no seed fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Program,
    Role,
    Settings,
    SettingValue,
    Severity,
    TrainingSource,
    add_flag,
    rule,
)

# Frameworks that seed themselves where nobody does, by their documentation: fairseq `--seed` 1, ultralytics `seed` 0,
# allennlp `random_seed` 13370, the boosting libraries a fixed number. Hugging Face's Trainer is known by its class.
_SELF_SEEDED = frozenset({"ultralytics", "fairseq", "allennlp", "xgboost", "lightgbm", "catboost"})
_SEED_WORDS = ("seed", "random_state", "prngkey")
_UNSET = "unset seed"
_TRAINING = ("lr", "batch_size", "epochs", "total_steps", "weight_decay", "optimizer", "dropout", "warmup_steps")


@rule("CFG009", severity="warning", pre=True)
def unseeded_run(
    settings: Settings | None,
    program: Program | None,
    source: TrainingSource | None,
    *,
    seed: int = 42,
    min_settings: int = 4,
) -> Iterator[Finding]:
    """Nothing fixes the random numbers of the run, so that it cannot be repeated.

    ## What it checks
    With the whole source of the training program: no call that seeds Python, numpy, PyTorch, TensorFlow or JAX, no
    `seed` or `random_state` argument (None is none), no setting of that name, or a seed option that was left at None.
    Frameworks that seed themselves (Hugging Face's Trainer, Ultralytics, fairseq) are silent. Without the source, but
    with the record that the run wrote of its settings, a record without a seed is an information: the run may have
    been seeded, but nobody can tell with what.

    ## Why it matters
    Two runs of one configuration differ by chance alone. Without a seed a difference between two settings cannot be
    told from that, and a failure cannot be looked at twice.

    ## Inputs
    Settings of any role whose name holds `seed`; the source of the program.

    ## Options
    - `seed` (default 42): the value that the fix proposes; any will do.
    - `min_settings` (count, default 4): training settings that a record must hold before the absence of a seed counts.
      A dump of a model's shape alone says nothing about seeds.

    ## Fix
    Unsafe: where the program has a seed option, `--seed 42` is added to the command; the next run then draws other
    numbers. Else only shown.

    ## When to ignore
    Runs that are repeated with different draws on purpose, and a seed that a wrapper sets in the environment.

    ## Source
    PyTorch documentation, "Reproducibility"; Bouthillier et al. 2021, "Accounting for Variance in Machine Learning
    Benchmarks". Of eight attempts of one unseeded configuration among the measured runs the worst ended at 0.44 and the
    best at 0.91 accuracy.
    """
    named = [v for v in settings or () if any(w in v.name.lower() for w in _SEED_WORDS)]
    if any(v.value is not None for v in named):
        return
    if source is not None:
        yield from _in_source(source, program, bool(named), seed)
    elif settings is not None and not (program and program.sources):
        yield from _in_record(settings, named, min_settings)
    else:
        raise NotApplicable("the source of the training program was not found or not whole")


def _in_source(source: TrainingSource, program: Program | None, optional: bool, seed: int) -> Iterator[Finding]:
    trainer = "transformers" in source.libraries and any(n.endswith("Trainer") for n in source.names)
    if trainer or source.libraries & _SELF_SEEDED:
        return
    unset = {(i.source.path, i.source.line) for s in source.sources for i in s.idioms if i.name == _UNSET}
    given = ((k.lower(), c.where.get(k, c.source)) for c in source.calls for k in c.keywords)
    words = {n.lower() for n in source.names} | {k for k, at in given if (at.path, at.line) not in unset}
    if not optional and any(w in name for name in words for w in _SEED_WORDS):
        return
    if any("seed" in c.name.lower() and isinstance(v, int) for c in source.calls for v in c.positional):
        return  # a fixed seed in the source, whatever the option says
    main = source.sources[0]
    option = next((o for o in main.options if "seed" in o.name.lower() and o.default is None and o.flags), None)
    launch = program.launch if program else None
    calls = len(source.calls)
    at = option.source if option else source.place
    said = (
        f"the option {option.flags[-1]} was left unset" if option else f"none of {calls:,} calls in the source sets one"
    )
    fix = Fix.show(f"seed Python, numpy and the framework with one number, such as {seed}, and record it")
    if option and option.takes_value and launch:
        fix = Fix.unsafe(f"seed the run with {seed}", add_flag(launch, option.flags[-1], seed))
    yield Finding(
        f"no seed fixed the run's random numbers: {said}",
        at=at,
        evidence=(Evidence("calls that set a seed", 0, 1, at), Evidence("calls in the source", calls)),
        fix=fix,
    )


def _in_record(settings: Settings, named: Sequence[SettingValue], min_settings: int) -> Iterator[Finding]:
    records = [v for v in settings if v.record and v.role is Role.FILE]
    if len({v.name for v in records} & set(_TRAINING)) < min_settings:
        raise NotApplicable("no source of the training program and no full record of its settings were found")
    names = {v.name for v in records}
    at = named[0].source if named else records[0].source
    said = f"{named[0].source.key or named[0].name} unset" if named else "no seed"
    yield Finding(
        f"the run recorded {len(names)} settings and {said}: it cannot be repeated from what it left behind",
        at=at,
        evidence=(Evidence("settings recorded", len(names), at=at), Evidence("seeds recorded", 0, 1, at)),
        severity=Severity.INFO,
        fix=Fix.show("record the seed with the other settings, and set one if none was set"),
    )
