"""Where a keyword argument or a setting may be inserted into a source."""

from __future__ import annotations

import ast

from mldiag.artifacts import Site
from mldiag.patterns import lazily
from mldiag.pysource.module import Module

# Behind an item: a comma or none, then a comment or none up to the end of the line.
_BEHIND = lazily(rb"[ \t]*(,)?[ \t]*(#[^\r\n]*)?(?=\r?\n|\Z)")
_NEXT = lazily(rb"(?:\s|\\\r?\n|#[^\r\n]*+)*+([,)}])")
# Between the last argument and the bracket that closes its call, comments left out.
_CLOSING = lazily(rb"(?:\s|\\\r?\n|#[^\r\n]*+)*+,?(?:\s|\\\r?\n|#[^\r\n]*+)*+\)")
_ALONE = lazily(rb"[ \t]*(?:#[^\r\n]*)?(?=\r?\n|\Z)")


def behind_call(module: Module, call: ast.Call) -> Site | None:
    """Behind the last argument of a call."""
    arguments = [*call.args, *call.keywords]
    if any(k.arg is None for k in call.keywords):
        return None
    _, end = module.span(call)
    if not arguments:
        empty = module.spans.data[end - 2 : end] == b"()"
        return Site(module.spans.on_disk(end - 1), "{key}={value}") if empty else None
    first, last = max(map(module.span, arguments))
    if isinstance(call.args[0] if call.args else None, ast.GeneratorExp):
        return None
    if not _CLOSING.fullmatch(module.spans.data, last, end):
        return None  # in brackets of its own
    return _item(module, first, last, "{key}={value}")


def behind_entry(module: Module, node: ast.expr | ast.keyword, key: ast.expr | None) -> Site | None:
    """Behind an entry of `dict(...)` (a keyword) or `{...}` (a value with its key)."""
    first, last = module.span(node)
    closed = _NEXT.match(module.spans.data, last)
    if closed is None or closed[1] not in (b",", b")" if key is None else b"}"):
        return None  # in brackets of its own
    if key is None:
        return _item(module, first, last, "{key}={value}")
    first, _ = module.span(key)
    quote = module.spans.data[first : first + 1].decode()
    if quote not in ("'", '"'):
        return None
    return _item(module, first, last, f"{quote}{{key}}{quote}: {{value}}")


def behind_statement(module: Module, statement: ast.stmt) -> Site | None:
    """Behind an assignment that is alone on its lines."""
    start, end = module.span(statement)
    data = module.spans.data
    rest = _ALONE.match(data, end)
    if rest is None or data[data.rfind(b"\n", 0, start) + 1 : start].strip():
        return None
    return Site(module.spans.on_disk(rest.end()), f"{module.line_end}{{key}} = {{value}}")


def _item(module: Module, start: int, end: int, form: str) -> Site | None:
    """Behind an item of a list in brackets: on a line of its own where this one has one."""
    data, on_disk = module.spans.data, module.spans.on_disk
    begun = data.rfind(b"\n", 0, start) + 1
    indent = data[begun:start]
    behind = _BEHIND.match(data, end)
    if behind is None or indent.strip():
        return Site(on_disk(end), f", {form}")
    separated = f"{module.line_end}{indent.decode()}{form}"
    if behind[1]:
        return Site(on_disk(behind.end()), f"{separated},")
    return Site(on_disk(end), f", {form}" if behind[2] else f",{separated}")
