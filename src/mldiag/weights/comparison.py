"""Two checkpoints held against each other: which tensors both have, by whatever name, and how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import ReadError
from mldiag.patterns import lazily
from mldiag.reporters.json import unread
from mldiag.secrets import is_secret
from mldiag.stats.differences import STEP, Difference, difference
from mldiag.values import Values
from mldiag.values.types import storage
from mldiag.weights import Opened
from mldiag.weights.tables import sharing, size_of

SORTS = ("distance", "max", "cosine", "size", "name")
"""Orders of the differences: the farthest apart first, the largest first, or by name."""

_PREFIX = lazily(
    r"(?:(?:module|_orig_mod|model|_forward_module)\.|(?:state_dict|model_state_dict|model|module|params)/)+"
)
"""What `DataParallel`, `torch.compile`, trainers and the dictionary around the weights put before a name."""
_WRAPPERS = lazily(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What wrappers of a part of a model put into a name."""


def bare(name: str) -> str:
    """A name without what only wrappers and containers put into it."""
    without = _WRAPPERS.sub("", name)
    found = _PREFIX.match(without)
    return without[found.end() :] if found else without


def paired(a: Checkpoint, b: Checkpoint) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor], list[Tensor]]:
    """The tensors that both have, in the order of `a`; those that only `a` and only `b` has.

    By name; of what is left, by names without prefixes, where that fits one tensor of each only.
    """
    partner = {name: b.by_name[name] for name in a.by_name if name in b.by_name}
    taken = set(partner)
    left = [_by_bare([t for t in c.tensors if t.name not in taken]) for c in (a, b)]
    for name, tensors in left[0].items():
        others = left[1].get(name, [])
        if len(tensors) == len(others) == 1:
            partner[tensors[0].name] = others[0]
    matched = {t.name for t in partner.values()}
    pairs = [(t, partner[t.name]) for t in a.by_name.values() if t.name in partner]
    only = [t for t in a.by_name.values() if t.name not in partner]
    return pairs, only, [t for t in b.by_name.values() if t.name not in matched]


def _by_bare(tensors: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault(bare(tensor.name), []).append(tensor)
    return found


def compared(a: Opened, b: Opened, *, sort: str = "distance", limit: int = 0) -> dict[str, Any]:
    """Two checkpoints as plain data.

    Args:
        sort: one of `SORTS`. `limit`: differing tensors, and missing ones of each, that are told; 0 for all.
    """
    pairs, only_a, only_b = paired(a.checkpoint, b.checkpoint)
    values = Values(a.root, a.checkpoint), Values(b.root, b.checkpoint)
    tensors = [_pair(values, pair) for pair in pairs]
    count = {state: sum(t["state"] == state for t in tensors) for state in STATES}
    differing = ordered([t for t in tensors if t["state"] != "identical"], sort)
    told = differing[:limit] if limit else differing
    only = {"a": _missing(a.checkpoint, only_a), "b": _missing(b.checkpoint, only_b)}
    summary = {
        **count,
        "renamed": sum(t["name"] != t["name_b"] for t in tensors),
        "retyped": sum(t["dtypes"][0] != t["dtypes"][1] for t in tensors),
        "only_a": len(only_a),
        "only_b": len(only_b),
    }
    broken = bool(count["unread"] or a.unread or b.unread)
    same = not (broken or only_a or only_b or count["equal"] or count["changed"] or count["reshaped"])
    return {
        "a": _side(a),
        "b": _side(b),
        "renames": _renames(pairs),
        "only_a": only["a"][:limit] if limit else only["a"],
        "only_b": only["b"][:limit] if limit else only["b"],
        "metadata": _metadata(a.checkpoint.metadata, b.checkpoint.metadata),
        "identical": [t["name"] for t in tensors if t["state"] == "identical"],
        "tensors": told,
        "left_out": len(differing) - len(told),
        "summary": {**summary, "same": same, "complete": not broken},
    }


STATES = ("identical", "equal", "changed", "reshaped", "unread")
"""Of two tensors: every bit is the same; every number is, but not the type or every bit; numbers differ; shapes differ,
so values are not compared; values could not be read."""


def ordered(tensors: Sequence[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Differences in one of the `SORTS`; what has no figure for it comes first."""
    if sort == "name":
        return sorted(tensors, key=lambda t: str(t["name"]))
    if sort == "size":
        return sorted(tensors, key=lambda t: -math.prod(t["shapes"][0]))
    return sorted(tensors, key=lambda t: _rank(t, sort), reverse=True)


def _rank(tensor: Mapping[str, Any], sort: str) -> tuple[float, ...]:
    found = tensor["difference"]
    if found is None:
        return 2.0, 0.0
    value = found[{"distance": "relative", "max": "max", "cosine": "cosine"}[sort]]
    if sort == "cosine" and value is not None:
        value = -value
    return (1.0, 0.0) if value is None else (0.0, value)


def _pair(values: tuple[Values, Values], pair: tuple[Tensor, Tensor]) -> dict[str, Any]:
    a, b = pair
    found: Difference | None = None
    reason = None
    if a.shape != b.shape:
        state = "reshaped"
    else:
        try:
            found = _difference(values, pair)
        except ReadError as error:
            state, reason = "unread", error.reason
        else:
            state = "identical" if found.identical else "changed" if found.changed or found.max is None else "equal"
            if found.max is None and not found.changed and found.unmatched == 0 and storage(a.dtype) is not None:
                state = "equal"  # NaN and infinities alone, the same in both
    return {
        "name": a.name,
        "name_b": b.name,
        "state": state,
        "shapes": [list(a.shape), list(b.shape)],
        "dtypes": [a.dtype, b.dtype],
        "difference": None if found is None else {n: getattr(found, n) for n in found.__struct_fields__},
        "reason": reason,
    }


def _difference(values: tuple[Values, Values], pair: tuple[Tensor, Tensor]) -> Difference:
    a, b = pair
    if a.dtype == b.dtype and storage(a.dtype) is None:
        # Text, and quantised numbers: only whether the bytes are the same can be told.
        same = a.size == b.size and all(x == y for x, y in zip(values[0].bytes(a), values[1].bytes(b), strict=True))
        return Difference(a.count, True) if same else Difference(a.count, False, 0, 0, None, None, None, None)
    first, second = (
        lambda which=which, own=own, tensor=tensor: _told(own.blocks(tensor, STEP), which)
        for which, own, tensor in zip("AB", values, pair, strict=True)
    )
    return difference(first, second, (a.dtype, b.dtype))


def _told(blocks: Iterator[Any], which: str) -> Iterator[Any]:
    """The blocks, with whose they are in the reason why there are none."""
    try:
        yield from blocks
    except ReadError as error:
        raise ReadError(f"{which}: {error.reason}") from error


def _side(found: Opened) -> dict[str, Any]:
    checkpoint = found.checkpoint
    return {
        "path": found.label,
        "format": checkpoint.format,
        "tensors": len(checkpoint.tensors),
        "elements": checkpoint.count,
        "bytes": sum(size_of(t) or 0 for t in checkpoint.tensors),
        "unread": [unread(u) for u in found.unread],
    }


def _missing(checkpoint: Checkpoint, tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    tied = {name: names for names in sharing(checkpoint) for name in names} if tensors else {}
    return [
        {
            "name": t.name,
            "shape": list(t.shape),
            "dtype": t.dtype,
            "shares_with": next((n for n in tied.get(t.name, ()) if n != t.name), None),
        }
        for t in tensors
    ]


def _renames(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[dict[str, Any]]:
    """What names of one have that those of the other have not, with how many there are and the first of them."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for a, b in pairs:
        if a.name != b.name:
            found.setdefault((_added(a.name), _added(b.name)), []).append((a.name, b.name))
    return [{"a": a, "b": b, "count": len(names), "first": list(names[0])} for (a, b), names in found.items()]


def _added(name: str) -> str:
    rest = bare(name)
    return name[: -len(rest)] if rest and name.endswith(rest) else name.replace(rest, "…") if rest else name


def _metadata(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    def differing() -> Iterator[dict[str, Any]]:
        for key in dict.fromkeys((*a, *b)):
            x, y = a.get(key), b.get(key)
            # NaN is not equal to itself.
            if x != y and not (x != x and y != y) and not (is_secret(key, x) or is_secret(key, y)):
                yield {"name": key, "a": x, "b": y}

    return list(differing())
