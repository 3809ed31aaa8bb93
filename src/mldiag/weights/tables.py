"""A checkpoint as plain data: its tensors, what their values say, totals, metadata, and what was not read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import NotApplicable
from mldiag.patterns import lazily
from mldiag.readers._weights.binary import bytes_of
from mldiag.reporters.json import unread
from mldiag.secrets import is_secret
from mldiag.weights import Opened

if TYPE_CHECKING:
    from mldiag.facts.tensor_statistics import TensorStatistics

SORTS = ("file", "name", "size", "bytes", "norm", "nan")
"""Orders of a table: as in the file, by name, or the largest first."""
OF_VALUES = frozenset({"norm", "nan"})
"""Orders that only the values tell."""

_STATED = {
    "step": lazily(r"(?:.*\.)?(?:global_?step|(?:iter|step)(?:ation)?s?(?:_num)?|iter_num|num_updates|optimizer_step)"),
    "epoch": lazily(r"(?:.*\.)?(?:current_)?epochs?"),
    "lr": lazily(r"(?:.*\.)?(?:lr|learning_rate|_last_lr(?:\.\d+)?)"),
    "framework": lazily(r"(?:.*[._-])?(?:producer_name|backend|framework|library)|format"),
    "version": lazily(r".*version"),
}
"""Keys of metadata that say so, by what they say."""


def described(found: Opened, *, values: bool = False, sort: str = "file", limit: int = 0) -> dict[str, Any]:
    """A checkpoint.

    Args:
        values: look at every value, too.
        sort: one of `SORTS`. `limit`: tensors that are told; 0 for all.
    """
    checkpoint = found.checkpoint
    values = values or sort in OF_VALUES
    statistics = _statistics(found) if values else None
    tensors = [_tensor(checkpoint, tensor, statistics) for tensor in checkpoint.tensors]
    shared = sharing(checkpoint)
    totals = _totals(checkpoint, tensors, shared)
    chosen = ordered(tensors, sort)
    told = chosen[:limit] if limit else chosen
    metadata = {k: v for k, v in checkpoint.metadata.items() if not is_secret(k, v)}
    return {
        "path": found.label,
        "format": checkpoint.format,
        "totals": totals | ({"values": _totals_of_values(tensors)} if values else {"values": None}),
        "stated": stated(metadata),
        "metadata": metadata,
        "settings": [{"name": v.name, "value": v.value, "key": v.source.key} for v in found.settings],
        "calls": list(checkpoint.calls),
        "shared": [list(names) for names in shared],
        "unread": [unread(u) for u in found.unread],
        "refused": [{n: t[n] for n in ("name", "refused", "broken")} for t in tensors if t["refused"]],
        "tensors": told,
        "left_out": len(chosen) - len(told),
    }


def sharing(checkpoint: Checkpoint) -> list[tuple[str, ...]]:
    """Names of tensors that begin at the same byte: tied ones, and views of one storage."""
    places: dict[tuple[str, int], list[str]] = {}
    for tensor in checkpoint.tensors:
        if tensor.offset is not None and tensor.count:
            places.setdefault((tensor.path or checkpoint.path, tensor.offset), []).append(tensor.name)
    return [tuple(names) for names in places.values() if len(names) > 1]


def size_of(tensor: Tensor) -> int | None:
    """Bytes of a tensor: in the file, else as its shape asks for; None where neither is known."""
    return bytes_of(tensor.shape, tensor.dtype) if tensor.size is None else tensor.size


def stated(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Step, epoch, learning rate, framework and version: of each the key that is nested least, with its value."""
    found: dict[str, Any] = {}
    for what, pattern in _STATED.items():
        keys = [k for k in metadata if pattern.fullmatch(k.lower()) and not isinstance(metadata[k], tuple | list)]
        if what in ("step", "epoch", "lr"):
            keys = [k for k in keys if isinstance(metadata[k], int | float) or _is_number(str(metadata[k]))]
        key = min(keys, key=lambda k: k.count("."), default=None)
        found[what] = None if key is None else {"key": key, "value": metadata[key]}
    return found


def _is_number(text: str) -> bool:
    # The metadata of safetensors is text.
    try:
        float(text)
    except ValueError:
        return False
    return True


def ordered(tensors: Sequence[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Tensors in one of the `SORTS`."""
    if sort == "file":
        return [*tensors]
    if sort == "name":
        return sorted(tensors, key=lambda t: str(t["name"]))
    return sorted(tensors, key=lambda t: _rank(t, sort), reverse=True)


def _rank(tensor: Mapping[str, Any], sort: str) -> tuple[float, ...]:
    if sort in ("size", "bytes"):
        return (tensor["elements" if sort == "size" else "bytes"] or 0,)
    values = tensor["values"]
    if values is None:
        return (-1.0,)
    return (values["nan"], values["inf"]) if sort == "nan" else (-1.0 if values["l2"] is None else values["l2"],)


def _statistics(found: Opened) -> TensorStatistics:
    from mldiag.facts.tensor_statistics import TensorStatistics

    return TensorStatistics((found.checkpoint,), found.root)


def _tensor(checkpoint: Checkpoint, tensor: Tensor, statistics: TensorStatistics | None) -> dict[str, Any]:
    values, refused, broken = None, None, False
    if statistics is not None:
        from mldiag.values.types import storage

        try:
            summary = statistics.of(checkpoint, tensor)
        except NotApplicable as reason:
            place = f"{tensor.path or checkpoint.path}, {tensor.name or 'the array'}: "
            refused = str(reason).removeprefix(place)
            broken = storage(tensor.dtype) is not None
        else:
            values = {name: getattr(summary, name) for name in summary.__struct_fields__ if name != "count"}
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "elements": tensor.count,
        "bytes": size_of(tensor),
        "file": tensor.path or checkpoint.path,
        "offset": tensor.offset,
        "values": values,
        "refused": refused,
        "broken": broken,
    }


def _totals(
    checkpoint: Checkpoint, tensors: Iterable[Mapping[str, Any]], shared: Sequence[Sequence[str]]
) -> dict[str, Any]:
    dtypes: dict[str, dict[str, int]] = {}
    for tensor in tensors:
        total = dtypes.setdefault(tensor["dtype"], {"tensors": 0, "elements": 0, "bytes": 0})
        total["tensors"] += 1
        total["elements"] += tensor["elements"]
        total["bytes"] += tensor["bytes"] or 0
    again = sum(sum(sorted(checkpoint.by_name[n].count for n in names)[:-1]) for names in shared)
    return {
        "tensors": len(checkpoint.tensors),
        "elements": checkpoint.count,
        "distinct_elements": checkpoint.count - again,
        "bytes": sum(total["bytes"] for total in dtypes.values()),
        "dtypes": dtypes,
        "groups": _groups(checkpoint),
        "files": len({t.path or checkpoint.path for t in checkpoint.tensors}),
    }


def _groups(checkpoint: Checkpoint) -> dict[str, dict[str, int]]:
    """Tensors and elements by the first key of nested containers (`model`, `optimizer`); empty where none nest."""
    groups: dict[str, dict[str, int]] = {}
    for tensor in checkpoint.tensors:
        first, slash, _ = tensor.name.partition("/")
        group = groups.setdefault(first if slash else "", {"tensors": 0, "elements": 0})
        group["tensors"] += 1
        group["elements"] += tensor.count
    return groups if 1 < len(groups) <= _MOST_GROUPS else {}


_MOST_GROUPS = 12
"""First keys beyond which they are names of layers, not of parts."""


def _totals_of_values(tensors: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    looked_at = [t["values"] for t in tensors if t["values"] is not None]
    total = {key: sum(v[key] for v in looked_at) for key in ("nan", "inf", "zeros", "constant_rows")}
    return {"tensors": len(looked_at), **total}
