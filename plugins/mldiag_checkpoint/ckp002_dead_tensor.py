"""CKP002: tensors that are all zero or constant, layers that cannot be active."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    Metrics,
    NotApplicable,
    Part,
    SavedModel,
    SavedModels,
    Severity,
    Summary,
    Tensor,
    TensorStatistics,
    is_of_another,
    lazily,
    rule,
)
from mldiag_checkpoint.words import at, is_trained, listed, moment

_GATE = lazily(
    r"gate|(?:^|[._/])dt_|delta|decay|forget|alpha|beta|sigma|log_?var|logit|cls|class|score|object|heatmap|(?:^|[._/])hm"
    r"|router|halt|mask|time"
)
"""Layers whose biases are low on purpose: a sigmoid or softplus stands behind them, not a ReLU."""


@rule("CKP002", severity="error", explains=("CUR003", "CUR007", "CUR014", "CUR018"))
def dead_tensor(
    saved: SavedModels,
    statistics: TensorStatistics,
    metrics: Metrics | None,
    *,
    min_values: int = 16,
    min_row_share: float = 0.5,
    min_rows: int = 8,
    max_zero_share: float = 0.02,
    min_reach: float = 1.0,
    max_variance: float = 1e-10,
    max_listed: int = 5,
) -> Iterator[Finding]:
    """A layer cannot pass anything on: its weights are zero or all the same, or none of its units can be active.

    ## What it checks
    In the last checkpoint of each model, once something shows that it was trained (a step, a log, the state of an
    optimizer):

    - weights (matrices, filters, tables) whose values are all zero: an error. All of another value: a warning;
    - matrices of which at least `min_row_share` of the rows are constant: a warning;
    - hidden layers every unit of which has a bias below minus the sum of its absolute weights, times `min_reach`: with
      inputs up to 1 in size none can be active after a ReLU: a warning;
    - batch norms whose running variance is nearly zero in every channel: what they are fed never changes: a warning.

    Ordinary, and not reported: biases at zero, scales of norms at one, weights that start at zero in a model that was
    not trained yet (residual projections, `B` of LoRA), padding rows and unused tokens of tables, matrices that were
    pruned (zeros in the other rows, too), fixed filters that average or add, biases of gates and outputs that begin low
    (Mamba, LSTM, detectors), buffers, models that stand beside the trained one (teacher, moving average).

    ## Why it matters
    A layer of zeros has no output and gives those below it no gradient, so both stay as they are; a unit whose input is
    negative for every example has no gradient either. The loss then stays where the remaining biases bring it.

    ## Inputs
    Checkpoints whose values can be read; the log, to know whether the model was trained.

    ## Options
    - `min_values` (16): values from which on a tensor is judged.
    - `min_row_share` (0.5): constant rows / rows; `min_rows` (8 rows).
    - `max_zero_share` (0.02): zeros among the other rows, from which on the matrix was pruned on purpose.
    - `min_reach` (1.0): size of the largest input of a layer; larger where inputs are not scaled.
    - `max_variance` (1e-10): running variance that is none. Batch norm adds 1e-5 or 1e-3 to it.
    - `max_listed` (5 tensors): tensors that are listed in the evidence.
    In 76 labelled runs with checkpoints no weight of a healthy model is constant, and at most one row of a table is
    (padding); of those labelled, every hidden layer is.

    ## Fix
    Shown: initialise the layer anew (He et al. 2015 for ReLU), lower the learning rate, or use a leaky activation.

    ## When to ignore
    Weights that were pruned or switched off on purpose.

    ## Source
    Lu et al. 2019, Dying ReLU and Initialization (arXiv:1903.06733). Glorot and Bengio 2010 on equal initial weights.
    """
    judged = [m for m in _last_of_each(saved) if is_trained(m, metrics, statistics)]
    if not judged:
        raise NotApplicable("nothing shows that the model was trained")
    for model in judged:
        zero: list[Tensor] = []
        constant: list[tuple[Tensor, float]] = []
        rows: list[tuple[Tensor, int, int]] = []
        for tensor in model.parts(Part.WEIGHT):
            if tensor.count < min_values or is_of_another(tensor.name):
                continue
            try:
                found = statistics.of(model.checkpoint, tensor)
            except NotApplicable:
                continue
            if found.min is None or found.max is None or found.finite < found.count:
                continue
            if found.min == found.max:
                if found.min == 0:
                    zero.append(tensor)
                elif not _is_fixed_filter(tensor, found.min):
                    constant.append((tensor, found.min))
            elif (
                found.rows >= min_rows
                and found.constant_rows >= min_row_share * found.rows
                and not (_is_table(tensor) or _is_pruned(found, max_zero_share))
            ):
                rows.append((tensor, found.constant_rows, found.rows))
        if zero:
            names = [t.name for t in zero]
            yield Finding(
                f"all values of {listed(names)} in {model.path}{moment(model)} are zero",
                at=at(model, names[0]),
                evidence=(
                    Evidence("tensors of zeros", len(zero), 0, model.checkpoint.source),
                    *(Evidence(f"zeros in {t.name}", t.count, None, at(model, t.name)) for t in zero[:max_listed]),
                ),
                fix=Fix.show("initialise the layers anew, and look for what stops their gradients"),
            )
        if constant:
            names = [t.name for t, _ in constant]
            yield Finding(
                f"all values of {names[0]} in {model.path}{moment(model)} are {constant[0][1]:.4g}"
                + (f"; constant are {listed(names[1:])}, too" if names[1:] else ""),
                at=at(model, names[0]),
                severity=Severity.WARNING,
                evidence=tuple(
                    Evidence(f"value of {t.name}", v, None, at(model, t.name)) for t, v in constant[:max_listed]
                ),
                fix=Fix.show("draw the initial weights at random: units that begin equal stay equal"),
            )
        for tensor, flat, of in rows[:max_listed]:
            yield Finding(
                f"{flat:,} of {of:,} rows of {tensor.name} in {model.path}{moment(model)} are constant",
                at=at(model, tensor.name),
                severity=Severity.WARNING,
                evidence=(
                    Evidence(f"constant rows of {tensor.name}", flat, min_row_share * of, at(model, tensor.name)),
                    Evidence(f"rows of {tensor.name}", of, None, at(model, tensor.name)),
                ),
                fix=Fix.show("look for what stops the gradients of these units, or make the layer smaller"),
            )
        yield from _inactive(model, statistics, min_values, min_reach)
        yield from _still(model, statistics, max_variance)


def _last_of_each(saved: SavedModels) -> list[SavedModel]:
    """The last checkpoint of each model."""
    last = {model.signature: model for model in saved}
    return list(last.values())


def _is_fixed_filter(tensor: Tensor, value: float) -> bool:
    """Whether a constant filter averages or adds what it covers."""
    if len(tensor.shape) < 3:
        return False
    covered = tensor.count // tensor.shape[0]
    return value == 1 or abs(value * covered - 1) < 1e-3 or abs(value * tensor.shape[-1] * tensor.shape[-2] - 1) < 1e-3


def _is_pruned(found: Summary, most: float) -> bool:
    """Whether zeros lie all over a matrix, not in whole rows alone."""
    rest = found.count - found.count // found.rows * found.constant_rows
    return found.zeros - (found.count - rest) > most * rest


def _is_table(tensor: Tensor) -> bool:
    name = tensor.name.lower()
    return any(word in name for word in ("emb", "wte", "wpe", "vocab", "token", "lm_head", "codebook", "table"))


def _inactive(model: SavedModel, statistics: TensorStatistics, least: int, reach: float) -> Iterator[Finding]:
    """Hidden layers none of whose units can be active."""
    weights = {t.name: t for t in model.parts(Part.WEIGHT)}
    order = list(weights)
    turned = model.checkpoint.format in ("keras", "hdf5", "flax", "tensorflow")
    for bias in model.parts(Part.VECTOR):
        tensor = next((weights[n] for n in _weights_of(bias.name) if n in weights), None)
        if tensor is None or bias.count < least // 2 or len(bias.shape) != 1 or _GATE.search(bias.name.lower()):
            continue
        units = tensor.shape[-1] if turned else tensor.shape[0]
        # What comes before the output alone: a layer that takes as many inputs follows.
        behind = [weights[n] for n in order[order.index(tensor.name) + 1 :]]
        if units != bias.count or not any(_takes(t, tensor, units, turned) for t in behind):
            continue
        try:
            found = statistics.of(model.checkpoint, bias)
            if found.max is None or found.max >= 0 or found.finite < found.count:
                continue
            worst = _least_reach(model, statistics, tensor, bias, units, turned)
        except NotApplicable:
            continue
        if worst is None or worst <= reach:
            continue
        yield Finding(
            f"no unit of {tensor.name} in {model.path}{moment(model)} can be active after a ReLU: every bias is below "
            f"{found.max:.4g}, and inputs would have to be larger than {worst:.3g} to make up for it",
            at=at(model, bias.name),
            severity=Severity.WARNING,
            evidence=(
                Evidence(f"largest bias of {bias.name}", found.max, 0, at(model, bias.name)),
                Evidence("least input that could make a unit active", worst, reach, at(model, tensor.name)),
                Evidence("units", units, None, at(model, bias.name)),
            ),
            fix=Fix.show("initialise the biases at zero, and lower the learning rate where it drove them down"),
        )


def _takes(tensor: Tensor, before: Tensor, units: int, turned: bool) -> bool:
    """Whether a weight may stand behind a layer of so many units: it takes as many, or maps of them in a row."""
    if len(tensor.shape) < 2:
        return False
    inputs = tensor.shape[-2] if turned else tensor.shape[1]
    side = math.isqrt(inputs // units)
    laid_out = len(before.shape) > 2 and len(tensor.shape) == 2 and side > 1 and side * side * units == inputs
    return inputs == units or laid_out


def _weights_of(bias: str) -> Iterator[str]:
    """The names that the weights of a bias may have."""
    for old, new in (("bias", "weight"), ("bias", "kernel"), ("vars/1", "vars/0"), ("bias:0", "kernel:0")):
        head, found, tail = bias.rpartition(old)
        if found:
            yield head + new + tail


def _least_reach(
    model: SavedModel, statistics: TensorStatistics, tensor: Tensor, bias: Tensor, units: int, turned: bool
) -> float | None:
    """The smallest largest input by which any unit could become active; None where the values cannot be read."""
    import numpy as np

    from mldiag.api import ReadError, numbers

    values = statistics.values(model.checkpoint)
    sums = np.zeros(units)
    per_unit = tensor.count // units
    at_value = 0
    try:
        for block in values.blocks(tensor):
            cells = np.abs(numbers(block, tensor.dtype).astype(np.float64))
            places = np.arange(at_value, at_value + len(cells))
            owner = places % units if turned else places // per_unit
            sums += np.bincount(owner, cells, minlength=units)
            at_value += len(cells)
        biases = np.concatenate([numbers(b, bias.dtype).astype(np.float64) for b in values.blocks(bias)])
    except ReadError:
        return None
    with np.errstate(divide="ignore"):
        return float((-biases / sums).min())


def _still(model: SavedModel, statistics: TensorStatistics, limit: float) -> Iterator[Finding]:
    """Batch norms that see a constant."""
    for tensor in model.parts(Part.BUFFER):
        if not tensor.name.split(":")[0].endswith(("running_var", "moving_variance")) or tensor.count < 2:
            continue
        try:
            found = statistics.of(model.checkpoint, tensor)
        except NotApplicable:
            continue
        if found.max is not None and found.finite == found.count and found.max < limit:
            yield Finding(
                f"{tensor.name} in {model.path}{moment(model)} is at most {found.max:.3g} in all {found.count:,} "
                "channels: what the layer is fed never changes",
                at=at(model, tensor.name),
                severity=Severity.WARNING,
                evidence=(
                    Evidence(f"largest value of {tensor.name}", found.max, limit, at(model, tensor.name)),
                    Evidence("channels", found.count, None, at(model, tensor.name)),
                ),
                fix=Fix.show("look at the layer before: its units give the same for every example"),
            )
