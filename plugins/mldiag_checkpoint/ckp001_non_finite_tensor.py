"""CKP001: NaN or infinity in weights."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, NotApplicable, Part, SavedModels, TensorStatistics, rule
from mldiag_checkpoint.words import at, listed, moment


@rule("CKP001", severity="error")
def non_finite_tensor(saved: SavedModels, statistics: TensorStatistics, *, max_listed: int = 5) -> Iterator[Finding]:
    """Weights hold NaN or infinity.

    ## What it checks
    Every value of every weight, bias, running moment and moment of the optimizer, of the first, the last and the best
    checkpoint of each model. Ordinary are infinities that are meant: masks by name, and whatever holds nothing but
    zeros and minus infinity (an additive attention mask); scores of callbacks that were never measured.

    ## Why it matters
    One such value spreads through every output that touches it. Where it lies in rows that training does not reach
    (positions beyond the trained length, tokens that never occur), the losses look healthy and the model fails in use.

    ## Inputs
    Checkpoints of any format whose values can be read; each tensor is read once, in blocks.

    ## Options
    - `max_listed` (5 tensors): tensors that are listed in the evidence; all are counted.

    ## Fix
    Shown: go back to the last checkpoint without such values.

    ## When to ignore
    A table of limits or a mask under a name that does not say so.

    ## Source
    IEEE 754: no arithmetic turns NaN into a number again.
    """
    for model in reversed(saved.judged):
        bad = []
        for tensor in model.parts(Part.WEIGHT, Part.VECTOR, Part.BUFFER, Part.STATE):
            if (
                not tensor.shape
                or "callbacks" in tensor.name
                or not tensor.dtype.lstrip("><").startswith(("float", "bfloat", "f", "c"))
            ):
                continue
            try:
                found = statistics.of(model.checkpoint, tensor)
            except NotApplicable:
                continue
            if not (found.nan or found.inf):
                continue
            mask = "mask" in tensor.name.lower() or "causal" in tensor.name.lower()
            if not found.nan and (mask or found.finite == found.zeros):
                continue
            bad.append((tensor, found))
        if not bad:
            continue
        worst, numbers = max(bad, key=lambda b: b[1].nan + b[1].inf)
        count = numbers.nan + numbers.inf
        kind = "NaN" if not numbers.inf else "infinite" if not numbers.nan else "NaN or infinite"
        others = f"; so do {listed([t.name for t, _ in bad if t is not worst])}" if len(bad) > 1 else ""
        yield Finding(
            f"{count:,} of {numbers.count:,} values of {worst.name} in {model.path}{moment(model)} are {kind}{others}",
            at=at(model, worst.name),
            evidence=(
                Evidence("tensors with such values", len(bad), 0, model.checkpoint.source),
                *(
                    [Evidence("saved at step", model.step, at=model.checkpoint.source)]
                    if model.step is not None
                    else []
                ),
                *(
                    e
                    for tensor, s in sorted(bad, key=lambda b: -(b[1].nan + b[1].inf))[:max_listed]
                    for e in (
                        Evidence(f"NaN and infinities in {tensor.name}", s.nan + s.inf, 0, at(model, tensor.name)),
                        Evidence(f"values of {tensor.name}", s.count, None, at(model, tensor.name)),
                    )
                ),
            ),
            fix=Fix.show("go back to the last checkpoint whose weights are finite"),
        )
        return
