"""Reporters: one module per output format, each a pure function from a report to text."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from mldiag.report import Report, Style

Render = Callable[[Report, Style], str]
_MARK = "__mldiag_reporter__"


class Reporter(Struct, frozen=True):
    """An output format; `name` is what `--format` takes."""

    name: str
    render: Render


def reporter(name: str) -> Callable[[Render], Render]:
    """Marks a function as the reporter of a format."""

    def mark(render: Render) -> Render:
        setattr(render, _MARK, name)
        return render

    return mark


def as_reporter(render: Render) -> Reporter:
    """The `Reporter` of a marked function."""
    return Reporter(getattr(render, _MARK), render)


def is_reporter(value: object) -> bool:
    """Whether a value is a function under `@reporter`."""
    return hasattr(value, _MARK)
