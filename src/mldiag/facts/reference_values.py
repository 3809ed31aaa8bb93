"""Figures that a run's results may be held against: published ones, stated in its settings, of a baseline run."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from mldiag.artifacts import Settings, SettingValue, as_number
from mldiag.errors import NotApplicable
from mldiag.expectations import Reference, References
from mldiag.facts import fact
from mldiag.groups import Against
from mldiag.quantities import is_lower_better
from mldiag.vocabulary import is_metric, series_name

_WORDS = ("published", "reference", "reported", "paper", "sota", "baseline")


class ReferenceValues(Struct, frozen=True):
    """The figures, those of the configuration first; more than one may be of the same metric."""

    items: tuple[Reference, ...]


@fact
def reference_values(
    references: References | None, settings: Settings | None, against: Against | None
) -> ReferenceValues:
    """From `[[reference]]` of the configuration, settings such as `published_ndcg@10`, and the run of `--against`.

    A run counts by the best value of each score and the lowest of each loss.
    """
    found = list(stated_references(references or (), settings or ()))
    for run in against or ():
        held_out = any(not name.startswith("train/") for name in run.results)
        for result in run.results.values():
            if held_out and result.name.startswith("train/"):
                continue  # how well training data is fitted is no aim of its own
            best = result.lowest if is_lower_better(result.name) else result.highest
            found.append(Reference(result.name, best, result.source, f"run {run.name}"))
    if not found:
        raise NotApplicable("no reference value is stated ([[reference]], a setting published_..., --against)")
    return ReferenceValues(tuple(found))


def stated_references(configured: Iterable[Reference], settings: Iterable[SettingValue]) -> tuple[Reference, ...]:
    """Those of the configuration, and settings whose name begins or ends with `published`, `reference`, `reported`,
    `paper`, `sota` or `baseline` and is the name of a metric otherwise.
    """  # fmt: skip
    found = list(configured)
    for value in settings:
        key = value.source.key or value.name
        number = as_number(value.value)
        if number is not None and (name := _metric_in(key)):
            found.append(Reference(name, number, value.source, key))
    return tuple(found)


def _metric_in(key: str) -> str:
    """The canonical series that a setting's name is a reference of; empty where it is none."""
    words = key.rpartition(".")[2].lower().replace("-", "_").split("_")
    for word, rest in ((words[0], words[1:]), (words[-1], words[:-1])):
        name = "_".join(rest)
        if word in _WORDS and rest and is_metric(name):
            return series_name(name)
    return ""
