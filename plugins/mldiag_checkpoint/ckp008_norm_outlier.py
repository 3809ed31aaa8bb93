"""CKP008: weights far larger or smaller than those of the same role, or than they were."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from mldiag.api import (
    CheckpointPair,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Part,
    SavedModel,
    SavedModels,
    Tensor,
    TensorStatistics,
    is_adapter,
    is_of_another,
    rule,
    stats,
)
from mldiag_checkpoint.words import at, moment


@rule("CKP008", severity="warning", explains=("CUR004", "CUR017"), gives_way_to=("CKP001",))
def norm_outlier(
    saved: SavedModels,
    statistics: TensorStatistics,
    pair: CheckpointPair | None,
    *,
    min_peers: int = 4,
    min_ratio: float = 100.0,
    min_deviations: float = 10.0,
    min_values: int = 16,
    min_growth: float = 100.0,
    min_size: float = 10.0,
) -> Iterator[Finding]:
    """The weights of a layer are orders of magnitude larger or smaller than those of its peers, or than they were.

    ## What it checks
    The root mean square of the values of each weight in the last checkpoint:

    - against the median of those of the same role and shape, which only differ by the numbers in their names
      (`h.0.mlp.c_fc`, `h.1.mlp.c_fc`): a ratio of `min_ratio` either way, which is also `min_deviations` median
      deviations;
    - against the first checkpoint of the run: grown by `min_growth` and beyond `min_size`, or shrunk by it.

    ## Why it matters
    A layer that grew by orders of magnitude is one that diverges or that something scales twice; one that shrank away
    is decayed to nothing, or its scale was lost in a conversion.

    ## Inputs
    Checkpoints whose values can be read; each is read once.

    ## Options
    - `min_peers` (4 tensors): of one role.
    - `min_ratio` (100), `min_deviations` (10), `min_values` (16).
    - `min_growth` (100): last / first, or first / last; `min_size` (10): root mean square of a weight that is
      too large.
    In 239 runs and published files, the 18 sets of peers lie within a factor of 2.2 of their median, and the 447
    weights of two checkpoints changed in size by a factor of at most 4.3.

    ## Fix
    Shown: look at what is done to this layer alone (initialisation, decay, conversion).

    ## When to ignore
    Layers of a different scale on purpose under names that only differ by a number.

    ## Source
    Median absolute deviation: Hampel 1974. Thresholds: measured.
    """
    last = {model.signature: model for model in saved}
    for model in last.values():
        yield from _among_peers(model, statistics, min_peers, min_ratio, min_deviations, min_values)
    if pair is None:
        return
    for tensor in pair.last.parts(Part.WEIGHT):
        other = pair.first.checkpoint.by_name.get(tensor.name)
        if other is None or tensor.count < min_values or is_adapter(tensor.name) or is_of_another(tensor.name):
            continue
        try:
            if pair.same(tensor):
                continue
        except NotApplicable:
            continue
        then, now = _size(pair.first, statistics, other), _size(pair.last, statistics, tensor)
        if not then or not now:
            continue
        grown = now >= min_growth * then and now >= min_size
        if not grown and then < min_growth * now:
            continue
        yield Finding(
            f"the values of {tensor.name} {'grew' if grown else 'shrank'} from {then:.3g} (root mean square, "
            f"{pair.first.path}) to {now:.3g} ({pair.last.path})",
            at=at(pair.last, tensor.name),
            evidence=(
                Evidence(
                    f"root mean square of {tensor.name} in {pair.last.path}", now, None, at(pair.last, tensor.name)
                ),
                Evidence(
                    f"root mean square of {tensor.name} in {pair.first.path}", then, None, at(pair.first, tensor.name)
                ),
                Evidence("ratio", now / then if grown else then / now, min_growth),
            ),
            fix=Fix.show(
                "lower the learning rate of this layer" if grown else "look at the weight decay of this layer"
            ),
        )
        return


def _among_peers(
    model: SavedModel, statistics: TensorStatistics, peers: int, ratio: float, deviations: float, least: int
) -> Iterator[Finding]:
    roles: dict[tuple[str, tuple[int, ...]], list[tuple[Tensor, float]]] = {}
    for tensor in model.parts(Part.WEIGHT):
        if tensor.count < least or not re.search(r"\d", tensor.name) or is_adapter(tensor.name):
            continue
        size = _size(model, statistics, tensor)
        if size:
            roles.setdefault((re.sub(r"\d+", "#", tensor.name), tensor.shape), []).append((tensor, size))
    worst: tuple[float, Tensor, float, float, int] | None = None
    for found in roles.values():
        if len(found) < peers:
            continue
        logs = [math.log10(size) for _, size in found]
        middle = stats.median(logs)
        spread = stats.median([abs(x - middle) for x in logs])
        for (tensor, size), value in zip(found, logs, strict=True):
            far = abs(value - middle)
            if far >= math.log10(ratio) and far >= deviations * spread and (worst is None or far > worst[0]):
                worst = (far, tensor, size, 10**middle, len(found))
    if worst is None:
        return
    far, tensor, size, middle, count = worst
    yield Finding(
        f"the values of {tensor.name} in {model.path}{moment(model)} are {size:.3g} in size (root mean square), and "
        f"the median of the {count} of its kind is {middle:.3g}",
        at=at(model, tensor.name),
        evidence=(
            Evidence(f"root mean square of {tensor.name}", size, None, at(model, tensor.name)),
            Evidence("median of its kind", middle, None, model.checkpoint.source),
            Evidence("ratio", 10**far, ratio),
            Evidence("tensors of its kind", count),
        ),
        fix=Fix.show("look at what is done to this layer alone: initialisation, decay, conversion"),
    )


def _size(model: SavedModel, statistics: TensorStatistics, tensor: Tensor) -> float | None:
    """The root mean square; None where it cannot be read or is not finite."""
    try:
        found = statistics.of(model.checkpoint, tensor)
    except NotApplicable:
        return None
    if found.l2 is None or found.finite < found.count or not math.isfinite(found.l2):
        return None
    return found.l2 / math.sqrt(found.count)
