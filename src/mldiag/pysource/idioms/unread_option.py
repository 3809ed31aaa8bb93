"""Options of the command line whose values the program never looks at."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.patterns import lazily
from mldiag.pysource.closed import reads_command_line
from mldiag.pysource.idioms._code import Code, keyword, position
from mldiag.pysource.literals import folded
from mldiag.pysource.module import Function, Scope
from mldiag.pysource.options import destination

_PARSES = ("parse_args", "parse_known_args", "parse_intermixed_args")
_SINKS = frozenset({
    "print", "pprint", "dump", "dumps", "safe_dump", "log_params", "log_hyperparams", "add_text", "str", "repr",
    "format",
    "info", "debug", "warning", "log", "init", "save", "write", "exception", "len", "sorted", "rule",
})  # fmt: skip
"""Calls that write a namespace down; `init` is that of an experiment tracker."""
_TRACKERS = frozenset({"wandb", "neptune", "comet_ml", "swanlab", "clearml", "trackio", "aim"})
_STATED = lazily(r"deprecat|ignored|unused|not used|no effect|compatib|legacy|placeholder|reserved", re.IGNORECASE)
_LAUNCHERS = frozenset({"local_rank", "local-rank", "f", "node_rank", "nproc_per_node"})
_LOADERS = ("yaml", "json", "tomllib", "toml", "tomli")
_LIMIT = 400  # places that a namespace is followed to


class _Escaped(Exception):
    """The namespace is handed to something that may read any of its options."""


def unread_option(code: Code) -> Iterator[Idiom]:
    """Options of argparse that no line reads off the parsed command line; keys that are read off configuration files.

    The namespace is followed through the file's names, functions and attributes. Where it is handed on whole to
    anything but what writes it down (`print`, `json.dump`, a tracker), where its names are computed, and in a
    configuration that is passed as `**vars(args)`, nothing is said of any option.
    """
    if code.imports(*_LOADERS):
        yield from _configs(code)
    if code.imports("argparse"):
        yield from _options(code)


def _options(code: Code) -> Iterator[Idiom]:
    parsed = [c for c in code.calls(*_PARSES) if isinstance(c.func, ast.Attribute)]
    reading = [False if _is_fixed(c) else reads_command_line(code.module, c) for c in parsed]
    if not parsed or None in reading or True not in reading or code.module.runs_text:
        return
    declared: dict[str, ast.Call] = {}
    for call in code.calls("add_argument"):
        name = destination(call)
        if name is None or (keyword(call, "action") is not None and not _plain_action(call)):
            return
        declared.setdefault(name, call)
    try:
        read = _reads(code, [c for c, whole in zip(parsed, reading, strict=True) if whole])
        other = _reads(code, [c for c, whole in zip(parsed, reading, strict=True) if not whole])
    except _Escaped:
        return
    if not read or not declared:
        return
    first = next(iter(declared.values()))
    known = ", ".join(sorted(read))
    yield code.idiom("options_followed", first, declared=len(declared), read=known)
    for name, call in declared.items():
        if name not in read and name not in _LAUNCHERS and not _is_excused(code, call):
            elsewhere = sorted(other.get(name, ()), key=position)[:1]
            yield code.idiom("unread_option", call, *elsewhere, option=name, declared=len(declared), read=known)


def _configs(code: Code) -> Iterator[Idiom]:
    """The keys that are read off each configuration file that is loaded by a path written in the source."""
    for call in code.calls("safe_load", "load", "full_load"):
        path = _path(code, call) if code.name_of(call).partition(".")[0] in _LOADERS else None
        if path is None:
            continue
        try:
            read = _reads(code, [call], mappings=True)
        except _Escaped:
            continue
        if read:
            yield code.idiom("config_followed", call, path=path, read=", ".join(sorted(read)))


def _path(code: Code, call: ast.Call) -> str | None:
    """The literal path of the file that `yaml.safe_load(open("config.yaml"))` or a `with` around it opens."""
    given = call.args[0] if call.args else None
    if isinstance(given, ast.Name):
        opened = [
            i.context_expr
            for n in code.outward(call)
            if isinstance(n, ast.With)
            for i in n.items
            if isinstance(i.optional_vars, ast.Name) and i.optional_vars.id == given.id
        ]
        given = opened[0] if len(opened) == 1 else None
    if not isinstance(given, ast.Call) or code.module.dotted(given.func) != "open" or not given.args:
        return None
    path = given.args[0]
    return path.value if isinstance(path, ast.Constant) and isinstance(path.value, str) else None


def _is_fixed(call: ast.Call) -> bool:
    """`parse_args([...])`: the command line is not looked at."""
    given = call.args[0] if call.args else keyword(call, "args")
    return isinstance(given, ast.List | ast.Tuple) and not any(isinstance(e, ast.Starred) for e in given.elts)


def _plain_action(call: ast.Call) -> bool:
    action = keyword(call, "action")
    return isinstance(action, ast.Constant) or (
        isinstance(action, ast.Attribute) and action.attr == "BooleanOptionalAction"
    )


def _is_excused(code: Code, call: ast.Call) -> bool:
    """It says that it is ignored, or a function of the file that converts its value may do its work."""
    converts = keyword(call, "type")
    if isinstance(converts, ast.Name) and converts.id in code.functions:
        return True
    action, text = keyword(call, "action"), keyword(call, "help")
    if isinstance(action, ast.Constant) and action.value in ("version", "help"):
        return True
    said = folded(text) if text is not None else ""
    return not isinstance(said, str) or _STATED.search(said) is not None


def _reads(code: Code, made: list[ast.Call], mappings: bool = False) -> dict[str, list[ast.AST]]:
    """Everything that is read off what the calls return, with where.

    Args:
        mappings: they return mappings, and not namespaces.

    Raises:
        _Escaped: something else may read it.
    """
    reads: dict[str, list[ast.AST]] = {}
    names: list[tuple[Scope, str, bool]] = []
    attributes: list[str] = []
    functions: list[ast.AST] = []

    def held(node: ast.AST, mapping: bool) -> None:
        parent = code.parents.get(node)
        match parent:
            case ast.Attribute():
                if parent.attr == "__dict__":
                    held(parent, True)
                elif mapping:
                    _method(code, parent, reads)
                else:
                    reads.setdefault(parent.attr, []).append(parent)
            case ast.Subscript(slice=ast.Constant(value=0)) if not mapping:
                held(parent, mapping)  # `parse_known_args()[0]`
            case ast.Subscript(slice=ast.Constant(value=str() as key)) if mapping and parent.value is node:
                reads.setdefault(key, []).append(parent)
            case ast.Assign():
                for target in parent.targets:
                    noted(target, mapping)
            case ast.AnnAssign() | ast.NamedExpr():
                noted(parent.target, mapping)
                if isinstance(parent, ast.NamedExpr):
                    held(parent, mapping)
            case ast.Return():
                function = code.function(parent)
                if function is None:
                    raise _Escaped
                functions.append(function)
            case ast.Tuple() | ast.List() | ast.Dict() | ast.IfExp() | ast.Starred():
                sunk(parent)
            case ast.FormattedValue() | ast.Expr():
                pass
            case ast.keyword():
                call = code.parents.get(parent)
                if not isinstance(call, ast.Call):
                    raise _Escaped
                given(call, parent.arg, mapping)
            case ast.Call():
                given(parent, next((i for i, a in enumerate(parent.args) if a is node), None), mapping)
            case _:
                raise _Escaped

    def noted(target: ast.AST, mapping: bool) -> None:
        if isinstance(target, ast.Tuple) and target.elts:
            target = target.elts[0]  # `args, rest = parser.parse_known_args()`
        if isinstance(target, ast.Name):
            found = code.module.binding(target.id, code.scope(target))
            if found is None:
                raise _Escaped
            names.append((found[0], target.id, mapping))
        elif isinstance(target, ast.Attribute) and not mapping:
            attributes.append(target.attr)
        else:
            raise _Escaped

    def given(call: ast.Call, to: int | str | None, mapping: bool) -> None:
        last = code.module.dotted(call.func).rpartition(".")[2]
        if isinstance(call.func, ast.Name) and last == "vars":
            held(call, True)
            return
        if isinstance(call.func, ast.Name) and last in ("getattr", "hasattr") and to == 0 and len(call.args) > 1:
            key = call.args[1]
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                raise _Escaped
            reads.setdefault(key.value, []).append(call)
            return
        if isinstance(call.func, ast.Name) and last in ("dict", "deepcopy", "copy") and to == 0:
            held(call, last == "dict")
            return
        definition = code.module.definition(call.func, code.scope(call))
        if isinstance(definition, ast.ClassDef):
            starts = [f for f in definition.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"]
            if len(starts) != 1:
                raise _Escaped
            handed(starts[0], to, 1, mapping)
        elif isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
            handed(definition, to, 0, mapping)
        elif to is None or not sink(call):
            raise _Escaped

    def handed(function: Function, to: int | str | None, skipped: int, mapping: bool) -> None:
        positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        if isinstance(to, int):
            to = positional[to + skipped] if to + skipped < len(positional) else None
        scope = code.module.scopes[function]
        if to is None or to not in scope.params or function.decorator_list:
            raise _Escaped
        names.append((scope, to, mapping))

    def sink(call: ast.Call) -> bool:
        last = code.module.dotted(call.func).rpartition(".")[2]
        return last in _SINKS and (last != "init" or code.name_of(call).partition(".")[0] in _TRACKERS)

    def sunk(node: ast.AST) -> None:
        """A literal that holds the namespace must go straight into what writes it down."""
        while isinstance(node, ast.Tuple | ast.List | ast.Dict | ast.IfExp | ast.keyword):
            node = code.parents[node]
        if not (isinstance(node, ast.Call) and sink(node)):
            raise _Escaped

    for call in made:
        held(call, mappings)
    done: set[object] = set()
    while names or attributes or functions:
        if len(done) > _LIMIT:
            raise _Escaped
        if names:
            owner, name, mapping = names.pop()
            if (id(owner), name, mapping) in done:
                continue
            done.add((id(owner), name, mapping))
            if owner is not code.module.scope and name in owner.outer_names:
                raise _Escaped
            for node, _ in code.module.every_use(name):
                found = code.module.binding(name, code.scope(node))
                if found is not None and found[0] is owner:
                    held(node, mapping)
        elif attributes:
            name = attributes.pop()
            if name in done:
                continue
            done.add(name)
            for inner in ast.walk(code.module.tree):
                if isinstance(inner, ast.Attribute) and inner.attr == name and isinstance(inner.ctx, ast.Load):
                    held(inner, False)
        else:
            function = functions.pop()
            if function in done:
                continue
            done.add(function)
            assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            if function.decorator_list or function.name in code.module.uses:
                raise _Escaped
            for call in code.calls(function.name):
                held(call, False)
    return reads


def _method(code: Code, attribute: ast.Attribute, reads: dict[str, list[ast.AST]]) -> None:
    """`config.get("lr")`; any other method may read every key."""
    call = code.parents.get(attribute)
    key = call.args[0] if isinstance(call, ast.Call) and call.func is attribute and call.args else None
    if attribute.attr not in ("get", "pop", "setdefault") or not isinstance(key, ast.Constant):
        raise _Escaped
    reads.setdefault(str(key.value), []).append(attribute)
