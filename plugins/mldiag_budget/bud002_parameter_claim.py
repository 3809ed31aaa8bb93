"""BUD002: the stated number of parameters is not what the dimensions make."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mldiag.api import Evidence, Finding, NotApplicable, Parameters, Scalar, Settings, lazily, rule

_NUMBER = lazily(r"~?\s*([\d.,]+)\s*([kmb])?", re.IGNORECASE)
_SCALE = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}


@rule("BUD002", severity="info", pre=True)
def parameter_claim(parameters: Parameters, settings: Settings, *, tolerance: float = 0.1) -> Iterator[Finding]:
    """The stated number of parameters is not what the dimensions of the model make.

    ## What it checks
    `num_parameters` as a log, a configuration or a document of the run states it, against the computed count: tied,
    untied, with and without position table, embeddings, biases and norms. It fires when none of these is near.

    ## Why it matters
    Wrong counts lead to wrong comparisons and wrong budgets, and a program that prints another count than its
    configuration makes has often built another model.

    ## Inputs
    `num_parameters`; every dimension of the model (`d_model`, `num_layers`, `d_ff`, `vocab_size`, positions, or the
    sizes of a recurrent model). It is skipped where one of them would have to be assumed.

    ## Options
    - `tolerance` (0.1): largest relative distance from the nearest count; what a reader would still call "about".

    ## When to ignore
    Models with parts that the formula does not know (adapters, several heads, convolutions).

    ## Source
    Kaplan et al. 2020, table 1, for the layers; the tables are vocabulary × width.
    """
    claim = settings.effective("num_parameters")
    if claim is None:
        raise NotApplicable("no setting num_parameters")
    if parameters.assumed:
        raise NotApplicable(f"the architecture is not fully known: {', '.join(parameters.assumed)} would be assumed")
    stated = _count(claim.value)
    if stated is None:
        raise NotApplicable(f"num_parameters is {claim.value!r}, which is no count")
    name, nearest = min(parameters.readings.items(), key=lambda reading: abs(reading[1] - stated))
    if abs(stated - nearest) <= tolerance * nearest:
        return
    tied, untied = parameters.count_tied, parameters.count_untied
    yield Finding(
        f"{stated / 1e6:,.4g} M parameters were stated; the dimensions make {tied / 1e6:,.2f} M tied, "
        f"{untied / 1e6:,.2f} M untied",
        at=claim.source,
        evidence=(
            Evidence("stated parameters", stated, at=claim.source),
            Evidence("parameters, tied", tied, at=parameters.source),
            Evidence("parameters, untied", untied, at=parameters.source),
            Evidence("distance from the nearest count", abs(stated - nearest) / nearest, tolerance),
            Evidence("nearest count", name),
            *(Evidence(part, size, at=parameters.places.get(part)) for part, size in parameters.sizes.items()),
        ),
        advice="state the computed number, and say whether the output matrix is tied",
    )


def _count(value: Scalar | tuple[Scalar, ...]) -> float | None:
    """A count as a number, or as text such as `15M` or `12.3 M`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if value > 0 else None
    found = _NUMBER.match(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    try:
        return float(found[1].replace(",", "")) * _SCALE[(found[2] or "").lower()] or None
    except ValueError:
        return None
