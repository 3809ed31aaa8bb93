"""Reads Python files: options with their defaults, calls, and the sizes of the model. Nothing is ever run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mldiag.artifacts import Call, PythonSource, Scalar, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader

if TYPE_CHECKING:
    from mldiag.pysource.module import Module


@reader("*.py", "*.pyw")
def python_source(file: File) -> Iterator[PythonSource | SettingValue]:
    """Python source, parsed with `ast`.

    A file of (almost) nothing but assignments, such as nanoGPT's and mmengine's configurations, gives settings. Any
    other gives one `PythonSource`: the options of argparse and click, dataclass fields, parameters and constants with
    their literal defaults, arithmetic worked out (`2**8`); every call; the sizes of the model, followed back to where
    their number is written (`pysource.values` says how far); and idioms of a training step that do not do what was
    meant.

    Raises:
        ReadError: no valid Python 3, with the line; a file of more than 2 MiB.
    """
    from mldiag.pysource.module import Module
    from mldiag.pysource.options import configuration

    try:
        module = Module(file)
        settings = configuration(module)
        found = [_source(module)] if settings is None else settings
    except RecursionError as error:
        raise ReadError("expressions are nested too deeply to be read") from error
    yield from found


def _source(module: Module) -> PythonSource:
    from mldiag.pysource.builds import builds
    from mldiag.pysource.closed import is_closed
    from mldiag.pysource.idioms import idioms
    from mldiag.pysource.options import options

    declared = options(module)
    return PythonSource(
        path=module.spans.file.path,
        options=declared,
        calls=tuple(_calls(module)),
        builds=builds(module, declared),
        closed=is_closed(module),
        imports=tuple(module.imports),
        names=frozenset(module.names),
        idioms=idioms(module),
    )


def _calls(module: Module) -> Iterator[Call]:
    from mldiag.pysource.literals import NOT_LITERAL, folded
    from mldiag.pysource.sites import behind_call

    def literal(node: ast.expr) -> Scalar:
        value = folded(node)
        return None if value is NOT_LITERAL or isinstance(value, tuple) else value

    for call, _ in module.calls:
        name = module.dotted(call.func)
        if name:
            named = [k for k in call.keywords if k.arg is not None]
            yield Call(
                name=name,
                resolved=module.resolved(name),
                source=module.line(call),
                positional=tuple(literal(a) for a in call.args),
                keywords={k.arg: literal(k.value) for k in named if k.arg is not None},
                where={k.arg: module.place(k, key=k.arg) for k in named if k.arg is not None},
                site=behind_call(module, call),
            )
