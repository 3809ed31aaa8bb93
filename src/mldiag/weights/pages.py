"""Checkpoints as text for people. What is too wide for a table stands in lines below the name it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mldiag.terminal import Page, Part, columns_of, counted, number

_LONGEST_NAME = 160
"""Columns of a name; of a longer one its beginning and its end are shown."""
_LONGEST_VALUE = 120
_MOST_METADATA = 40
_FEW = 12
_LEAST_NAME = 24
"""Columns that a table leaves for names at least; with less, each row is told in lines."""


def show_checkpoint(page: Page, found: Mapping[str, Any]) -> None:
    """One checkpoint, as `tables.described` tells it."""
    page.rule(f"{found['path']} ({found['format']})")
    _show_totals(page, found)
    _show_unread(page, found["unread"])
    if found["calls"]:
        page.blank()
        names, more = found["calls"][:_FEW], len(found["calls"]) - _FEW
        page.flow(
            ("not safe to unpickle: ", "warning"),
            (f"loading it would call {', '.join(names)}" + (f" and {more:,} more" if more > 0 else ""), ""),
            ("; nothing of it was called here", "dim"),
            rest="  ",
        )
    _show_metadata(page, found)
    for names in found["shared"][:_FEW]:
        page.flow(("share memory: ", "strong"), (_listed(names), ""), rest="  ")
    if len(found["shared"]) > _FEW:
        page.flow((f"and {counted(len(found['shared']) - _FEW, 'group')} more of that kind", "dim"))
    tensors = found["tensors"]
    if not tensors:
        page.blank()
        page.flow(("no tensors", "warning"))
        return
    rows = [[_name(t["name"]), shape(t["shape"]), t["dtype"], f"{t['elements']:,}", size(t["bytes"])] for t in tensors]
    _table(page, "tensors", ("tensor", "shape", "dtype", "elements", "bytes"), rows, right=(3, 4))
    _show_left_out(page, found["left_out"])
    if found["totals"]["values"] is not None:
        _show_values(page, tensors, found["refused"])


def _show_totals(page: Page, found: Mapping[str, Any]) -> None:
    totals = found["totals"]
    again = totals["elements"] - totals["distinct_elements"]
    parts = [
        counted(totals["tensors"], "tensor"),
        counted(totals["distinct_elements"], "element") + (f" and {again:,} of shared memory" if again else ""),
        size(totals["bytes"]),
    ]
    if totals["files"] > 1:
        parts.append(counted(totals["files"], "file"))
    page.flow((" · ".join(p.replace(" ", "\xa0") for p in parts).replace("\xa0· ", " · "), "strong"))
    if len(totals["dtypes"]) > 1 or totals["groups"]:
        dtypes = [f"{d} {size(t['bytes'])} in {counted(t['tensors'], 'tensor')}" for d, t in totals["dtypes"].items()]
        page.flow((", ".join(dtypes), ""))
        groups = [
            f"{name or 'others'}: {counted(g['tensors'], 'tensor')}, {counted(g['elements'], 'element')}"
            for name, g in totals["groups"].items()
        ]
        if groups:
            page.flow(("; ".join(groups), ""))
    elif totals["dtypes"]:
        page.flow((f"all {next(iter(totals['dtypes']))}", ""))
    values = totals["values"]
    if values is not None and values["tensors"]:
        told = [
            (counted(values["nan"], "NaN", "NaN"), "error" if values["nan"] else "good"),
            (counted(values["inf"], "infinity", "infinities"), "error" if values["inf"] else "good"),
            (counted(values["constant_rows"], "constant row"), ""),
        ]
        first: list[Part] = [(f"values of {counted(values['tensors'], 'tensor')}: ", "")]
        for i, part in enumerate(told):
            first += [(", ", "")] * bool(i) + [part]
        page.flow(*first)


def _show_unread(page: Page, unread: Sequence[Mapping[str, Any]]) -> None:
    for part in unread:
        page.flow((part["path"], "place"), (": ", ""), (part["reason"], "warning"), rest="  ")


def _show_metadata(page: Page, found: Mapping[str, Any]) -> None:
    stated = {what: told for what, told in found["stated"].items() if told is not None}
    rows: list[list[Part]] = [
        [(what, "strong"), (_value(t["value"]), ""), (t["key"], "dim")] for what, t in stated.items()
    ]
    if rows:
        _titled(page, "states")
        page.table(rows, indent=2)
    settings = [[(s["name"], ""), (_value(s["value"]), ""), (s["key"] or "", "dim")] for s in found["settings"]]
    if settings:
        _titled(page, "settings it states or proves")
        page.table(settings[:_MOST_METADATA], indent=2)
        _show_left_out(page, len(settings) - _MOST_METADATA)
    told = {t["key"] for t in stated.values()} | {s["key"] for s in found["settings"]}
    others = [[(_name(k), ""), (_value(v), "")] for k, v in found["metadata"].items() if k not in told]
    if others:
        _titled(page, "metadata")
        page.table(others[:_MOST_METADATA], indent=2)
        _show_left_out(page, len(others) - _MOST_METADATA)


def _show_values(page: Page, tensors: Sequence[Mapping[str, Any]], unread: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for tensor in tensors:
        values = tensor["values"]
        if values is not None:
            figures = [short(values[key]) for key in ("min", "max", "mean", "std", "l2")]
            rows.append([_name(tensor["name"]), *figures, f"{values['zeros']:,}", _notes(values)])
    header = ("tensor", "min", "max", "mean", "std", "L2", "zeros", "notes")
    _table(page, "values", header, rows, right=range(1, 7), warn=7)
    refused: dict[str, list[str]] = {}
    for tensor in unread:
        refused.setdefault(tensor["refused"], []).append(tensor["name"])
    if refused:
        _titled(page, "values that were not read")
        for reason, names in refused.items():
            page.flow((_listed(names), ""), (": ", ""), (reason, "warning"), first="  ", rest="    ")


def _notes(values: Mapping[str, Any]) -> str:
    notes = [
        f"{values['nan']:,} NaN" if values["nan"] else "",
        f"{values['inf']:,} infinite" if values["inf"] else "",
        f"{values['constant_rows']:,} of {counted(values['rows'], 'row')} constant" if values["constant_rows"] else "",
    ]
    return ", ".join(filter(None, notes))


def show_comparison(page: Page, found: Mapping[str, Any]) -> None:
    """Two checkpoints side by side, as `comparison.compared` tells them."""
    sides = [found["a"], found["b"]]
    page.rule("two checkpoints")
    for which, side in zip("AB", sides, strict=True):
        counts = (counted(side["tensors"], "tensor"), counted(side["elements"], "element"), size(side["bytes"]))
        told = " · ".join((side["format"], *counts)).replace(" ", "\xa0").replace("·\xa0", "· ")
        page.flow((f"{which} ", "strong"), (side["path"], "place"), (f" {told}", ""), rest="  ")
    for side in sides:
        _show_unread(page, side["unread"])
    if found["metadata"]:
        _titled(page, "metadata that differ")
        metadata = [[_name(m["name"]), _value(m["a"]), _value(m["b"])] for m in found["metadata"]]
        page.table([[(text, "") for text in row] for row in (["", "A", "B"], *metadata[:_MOST_METADATA])], indent=2)
        _show_left_out(page, len(metadata) - _MOST_METADATA)
    if found["renames"]:
        _titled(page, "names that differ in what wrappers add")
        for rename in found["renames"]:
            a, b = (f"{rename[side]} in {side.upper()}" if rename[side] else "" for side in ("a", "b"))
            what = " and ".join(filter(None, (a, b)))
            first = " is ".join(_name(name) for name in rename["first"])
            page.flow(
                (f"{what}: ", ""),
                (counted(rename["count"], "tensor"), ""),
                (f", {first}", "dim"),
                first="  ",
                rest="    ",
            )
    for side in ("a", "b"):
        _show_missing(page, side, found[f"only_{side}"], found["summary"][f"only_{side}"])
    reshaped = [t for t in found["tensors"] if t["state"] == "reshaped"]
    rows = [[_name(t["name"]), *map(shape, t["shapes"])] for t in reshaped]
    _table(page, "shapes that differ, whose values are not compared", ("tensor", "A", "B"), rows)
    _table(
        page,
        "values that differ",
        ("tensor", "relative L2", "max abs", "mean abs", "cosine", "changed", "notes"),
        [_difference(t) for t in found["tensors"] if t["state"] in ("changed", "equal")],
        right=range(1, 6),
        warn=6,
    )
    unread = [t for t in found["tensors"] if t["state"] == "unread"]
    if unread:
        _titled(page, "could not be compared")
        page.table([[(_name(t["name"]), ""), (t["reason"], "warning")] for t in unread], indent=2)
    _show_left_out(page, found["left_out"])
    page.blank()
    page.flow(*_summary(found["summary"]))


def _show_missing(page: Page, side: str, tensors: Sequence[Mapping[str, Any]], count: int) -> None:
    rows = []
    for tensor in tensors:
        tied = f"shares memory with {_name(tensor['shares_with'])}" if tensor["shares_with"] else ""
        rows.append([_name(tensor["name"]), shape(tensor["shape"]), tensor["dtype"], tied])
    _table(page, f"only in {side.upper()}: {counted(count, 'tensor')}", ("tensor", "shape", "dtype", ""), rows)
    _show_left_out(page, count - len(tensors))


def _difference(tensor: Mapping[str, Any]) -> list[str]:
    found = tensor["difference"]
    count = found["count"]
    share = found["changed"] / count if count else 0.0
    cosine = found["cosine"]
    notes = []
    if tensor["dtypes"][0] != tensor["dtypes"][1]:
        notes.append(f"{tensor['dtypes'][0]} and {tensor['dtypes'][1]}")
    if tensor["state"] == "equal":
        notes.append("the same numbers" if notes else "the same numbers in other bits")
    if found["unmatched"]:
        notes.append(f"{found['unmatched']:,} NaN or infinite in one only, or otherwise")
    elif found["max"] is None and tensor["state"] == "changed":
        notes.append("other bytes; its values are no numbers that can be told apart")
    return [
        _name(tensor["name"]),
        short(found["relative"]),
        short(found["max"]),
        short(found["mean"]),
        "none" if cosine is None else f"{cosine:.6f}",
        "all"
        if found["changed"] == count
        else f"{share:.1%}"
        if found["changed"] / max(count, 1) >= 5e-4
        else f"{found['changed']:,}",
        ", ".join(notes),
    ]


def _summary(summary: Mapping[str, Any]) -> list[Part]:
    missing = summary["only_a"] + summary["only_b"]
    told: list[Part] = [
        (f"{summary['identical']:,} identical", "good" if summary["identical"] else ""),
        (f"{summary['changed']:,} changed", "warning" if summary["changed"] else ""),
        (f"{missing:,} missing", "warning" if missing else ""),
    ]
    if missing:
        told[-1] = (f"{missing:,} missing ({summary['only_b']:,} in A, {summary['only_a']:,} in B)", "warning")
    others = {"equal": "the same in other bits or types", "reshaped": "of other shapes", "unread": "not compared"}
    told += [(f"{summary[key]:,} {what}", "warning") for key, what in others.items() if summary[key]]
    parts: list[Part] = []
    for i, part in enumerate(told):
        parts += [(" · ", "dim")] * bool(i) + [part]
    return parts


def shape(sizes: Sequence[int]) -> str:
    """`768×3072`; `scalar` of none."""
    return "×".join(map(str, sizes)) or "scalar"


def size(count: int | None) -> str:
    """`1.5 MB`: bytes in powers of a thousand, three digits."""
    if count is None:
        return "unknown"
    if count < 1000:
        return f"{count} B"
    value, units = float(count), iter(("kB", "MB", "GB", "TB", "PB", "EB"))
    unit = "B"
    while value >= 999.5:
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}"


def short(value: float | None) -> str:
    """Four digits, in at most ten columns."""
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e4:
        return f"{value:.0f}"
    text = number(value) if value != value or value in (float("inf"), float("-inf")) else f"{value:.4g}"
    return text.replace("e-0", "e-").replace("e+0", "e+")


def _value(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else '""' if value == "" else number(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _name(name: str) -> str:
    if not name:
        return "(no name)"
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 + 1 :]}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _FEW
    return ", ".join(map(_name, names[:_FEW])) + (f" and {more:,} more" if more > 0 else "")


def _titled(page: Page, title: str) -> None:
    page.blank()
    page.line((title, "strong"))


def _show_left_out(page: Page, count: int) -> None:
    if count > 0:
        page.flow((f"and {count:,} more", "dim"), first="  ")


def _table(
    page: Page,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Iterable[int] = (),
    warn: int | None = None,
) -> None:
    """Rows under a header; where the names would be left no room, a line with the figures below each name.

    Args:
        right: columns that are aligned right. `warn`: one that is set off.
    """
    if not rows:
        return
    # A column in which nothing stands is left out.
    kept = [i for i in range(len(header)) if i == 0 or any(row[i] for row in rows)]
    used = [max(columns_of(page.safe(row[i])) for row in (header, *rows)) for i in kept[1:]]
    aligned = set(right)
    # Notes are text, and wrap.
    used = [min(width, 18) if i == warn else width for i, width in zip(kept[1:], used, strict=True)]
    longest = max(columns_of(page.safe(row[0])) for row in (header, *rows))
    _titled(page, title)
    if page.width - 2 - sum(w + 2 for w in used) >= min(longest, _LEAST_NAME):
        table: list[list[Part]] = [[(header[i], "dim") for i in kept]]
        table += [
            [(row[i].replace(" ", "\xa0") if i in aligned else row[i], "warning" if i == warn else "") for i in kept]
            for row in rows
        ]
        page.table(table, indent=2, right=[place for place, i in enumerate(kept) if i in aligned])
        return
    for row in rows:
        page.flow((row[0], ""), first="  ", rest="    ")
        said: list[Part] = []
        for i in kept[1:]:
            if row[i]:
                label = f"{header[i]}\xa0" if i in aligned and header[i] else ""
                said += [(" · ", "dim")] * bool(said)
                said += [(label, "dim"), (row[i].replace(" ", "\xa0"), "warning" if i == warn else "")]
        page.flow(*said, first="    ", rest="    ")
