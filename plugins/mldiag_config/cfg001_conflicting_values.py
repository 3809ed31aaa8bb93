"""CFG001: one setting, two values, both claiming the same thing."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Conflict, ConflictKind, Conflicts, Evidence, Finding, Fix, Settings, edit_everywhere, rule

_LABEL = ConflictKind.LABEL
_LENGTHS = ("seq_len", "max_positions")


@rule("CFG001", severity="error", pre=True, explains=("CFG002", "CUR001", "SMP001", "SMP002", "SMP003"))
def conflicting_values(conflicts: Conflicts, settings: Settings | None) -> Iterator[Finding]:
    """One setting has two values where both places claim to say the same thing.

    ## What it checks
    Six contradictions, each setting reported once. The model was built from a declared default (`parse_args([])`,
    `parser.get_default`, a dataclass without arguments) although the command line gave another value. One command gave
    a flag twice. What the run recorded of itself (`hparams.yaml`, `training_args.json`, a log's header) is not what the
    command line says. Two files that describe one model, or a file and a checkpoint, differ in the model's shape.
    DeepSpeed's configuration is not what Hugging Face's arguments beside it say ("auto" is). The program ended because
    of a label that `num_classes` has no place for.
    A flag that overrides a default or a configuration file is no conflict. Numbers are compared as numbers (3e-4 is
    0.0003), paths and names are not compared, and a vocabulary padded up to a multiple is the same vocabulary.

    ## Why it matters
    Each part of the program believes its own value: a data pipeline cuts windows of 320 tokens for a model that was
    built with 256 positions. Nothing fails, and the run trains something that nobody asked for.

    ## Inputs
    The settings of every place, with their roles, and the lines of the source that build the model.

    ## Fix
    Safe: the command line or the file is set to the value that took effect, which the run's other parts already have;
    with a length also the stride of windows that lie side by side, and every other file that states the old value.
    Where neither of two files is proven by the run, or the place cannot be edited, the fix is only shown.

    ## When to ignore
    A script that was changed for the next run after this one was recorded; two files that describe two models of
    almost the same shape.

    ## Source
    Measured on a run whose launch script gave 320 while its source built 256, and on 380 labelled runs, where no
    healthy one has such a contradiction. Vocabulary padding: Megatron-LM, `make-vocab-size-divisible-by`.
    """
    for conflict in conflicts.items:
        yield Finding(
            _message(conflict),
            at=conflict.stated.source,
            evidence=_evidence(conflict),
            fix=_fix(conflict, settings),
            # Only a wrong length can cut or wrap positions, and so spoil curves and samples.
            explains=("RUN006",) if conflict.kind is _LABEL else None if conflict.name in _LENGTHS else (),
        )


def _fix(conflict: Conflict, settings: Settings | None) -> Fix:
    if conflict.kind is _LABEL:
        return Fix.show(
            f"set {conflict.name} to at least {_text(conflict.actual)}, or leave such labels out of the data"
        )
    title = f"set {conflict.name} to {_text(conflict.actual)}"
    edits = edit_everywhere(settings, conflict.stated, conflict.actual)
    return Fix.safe(title, *edits) if conflict.settled else Fix.show(title)


def _message(conflict: Conflict) -> str:
    name, stated, actual = conflict.name, conflict.stated, _text(conflict.actual)
    said = f"{name} {_text(stated.value)} ({stated.source})"
    match conflict.kind:
        case ConflictKind.DEFAULT_BUILT:
            user = "the data pipeline" if name in _LENGTHS else "the rest of the program"
            return (
                f"the command line gave {said}, which {user} used, but the model was built at "
                f"{conflict.built_at} with the declared default {actual} ({conflict.actual_at})"
            )
        case ConflictKind.REPEATED_FLAG:
            return f"one command gave {said} and then {actual} ({conflict.actual_at}); the last one took effect"
        case ConflictKind.RECORD:
            return f"the command line says {said}, but the run recorded {actual} ({conflict.actual_at})"
        case ConflictKind.PARTNER:
            return (
                f"DeepSpeed's configuration gives {said}, but the trainer's arguments say {actual} "
                f"({conflict.actual_at}): it starts only where both agree"
            )
        case ConflictKind.LABEL:
            return f"{said} has no place for label {_text(_label(conflict))} of the data ({conflict.actual_at})"
        case _:
            proof = f"; both agree in {', '.join(conflict.shared)}" if conflict.shared else ""
            return f"{said} stands against {actual} ({conflict.actual_at}) for the same model{proof}"


def _label(conflict: Conflict) -> int:
    """The label that needs so many classes: they are counted from 0."""
    return int(str(conflict.actual)) - 1


def _evidence(conflict: Conflict) -> tuple[Evidence, ...]:
    stated = conflict.stated
    value = stated.value if isinstance(stated.value, int | float | str) else str(stated.value)
    if conflict.kind is _LABEL:
        return (
            Evidence(f"{conflict.name} stated", value, at=stated.source),
            Evidence("label", _label(conflict), value, conflict.actual_at),
        )
    label = "built" if conflict.kind is ConflictKind.DEFAULT_BUILT else "in effect"
    found = (
        Evidence(f"{conflict.name} stated", value, at=stated.source),
        Evidence(f"{conflict.name} {label}", conflict.actual, at=conflict.actual_at),
    )
    if conflict.built_at is None:
        return found
    return (*found, Evidence("line that builds the model", conflict.built_at.line, at=conflict.built_at))


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
