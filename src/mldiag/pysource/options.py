"""The options that a program declares, with their defaults, and whether these are all that it takes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from msgspec import Struct

from mldiag.artifacts import Option, Origin, Role, SettingValue, Site, Source
from mldiag.patterns import lazily
from mldiag.pysource.literals import NOT_LITERAL, Literal, converted, folded
from mldiag.pysource.module import Binding, Function, Module, Scope
from mldiag.pysource.sites import behind_entry, behind_statement

_CONSTANT = lazily(r"_?[A-Z][A-Z0-9_]*")
_NESTED_LIMIT = 6  # levels of `dict(...)` in a configuration file
_MINOR = (ast.Import, ast.ImportFrom, ast.Pass)
_SWITCHES = frozenset({"store_true", "store_false", "store_const", "append_const", "count", "BooleanOptionalAction"})


class Default(Struct, frozen=True):
    """A default value: where it is written, and whether replacing what stands there changes it and nothing else."""

    value: Literal
    source: Source
    editable: bool


def options(module: Module) -> tuple[Option, ...]:
    """Everything that the file declares: command-line options first, then fields, parameters and constants."""
    return (
        *_argparse(module),
        *_click(module),
        *_dataclass_fields(module),
        *_configurator(module),
        *_parameters(module),
        *_constants(module),
    )


def default_of(module: Module, node: ast.expr, scope: Scope) -> Default:
    """The value of a default expression; of a module constant, the constant's own."""
    value = folded(node)
    if value is not NOT_LITERAL:
        return Default(value, module.place(node), value is not None)
    if isinstance(node, ast.Name):
        bound = _constant_binding(module, node.id, scope)
        if bound is not None and bound.value is not None:
            value = folded(bound.value)
            if value is not NOT_LITERAL:
                alone = len(module.uses.get(node.id, ())) == 1
                return Default(value, module.place(bound.value), alone and value is not None)
    return Default(None, module.place(node), False)


def _constant_binding(module: Module, name: str, scope: Scope) -> Binding | None:
    found = module.binding(name, scope)
    if found is None or found[0] is not module.scope or len(found[1]) != 1:
        return None
    bound = found[1][0]
    return None if bound.conditional or bound.index is not None else bound


# argparse


def spelled(call: ast.Call) -> tuple[str, ...] | None:
    """The names that `add_argument` or `click.option` is given; None where they are not all written there."""
    names = tuple(a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str))
    return names if len(names) == len(call.args) and names else None


def destination(call: ast.Call) -> str | None:
    """The attribute under which argparse stores an option; None where the source does not show it."""
    given = keyword(call, "dest")
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return given.value
    names = spelled(call)
    if names is None or given is not None:
        return None
    long = [n for n in names if n.startswith("--")]
    return (long or list(names))[0].lstrip("-").replace("-", "_") or None


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The expression that a call gives to a keyword."""
    return next((k.value for k in call.keywords if k.arg == name), None)


def _argparse(module: Module) -> Iterator[Option]:
    for call, scope in module.calls_by_name.get("add_argument", ()):
        name, names = destination(call), spelled(call)
        if not isinstance(call.func, ast.Attribute) or name is None or names is None:
            continue
        action = _action(module, call)
        if action in ("help", "version"):
            continue
        flags = tuple(n for n in names if n.startswith("-"))
        if action == "BooleanOptionalAction":
            flags += tuple("--no-" + f[2:] for f in flags if f.startswith("--"))
        default = _argparse_default(module, call, scope, action)
        yield Option(
            name=name,
            flags=flags,
            default=default.value,
            origin=Origin.ARGPARSE,
            source=default.source,
            editable=default.editable,
            help=_help(call),
            owner=module.dotted(call.func.value),
            takes_value=action not in _SWITCHES,
        )


def _argparse_default(module: Module, call: ast.Call, scope: Scope, action: str) -> Default:
    written = keyword(call, "default")
    if written is None:
        implied = {"store_true": False, "store_false": True}.get(action)
        return Default(implied, module.line(call), False)
    found = default_of(module, written, scope)
    kind = keyword(call, "type")
    if isinstance(found.value, str) and isinstance(kind, ast.Name) and kind.id in ("int", "float"):
        # argparse puts a default that is text through `type` as well.
        number = converted(kind.id, found.value)
        if isinstance(number, int | float):
            return Default(number, found.source, found.editable)
    return found


def _action(module: Module, call: ast.Call) -> str:
    action = keyword(call, "action")
    if isinstance(action, ast.Constant) and isinstance(action.value, str):
        return action.value
    return "" if action is None else module.dotted(action).rsplit(".", 1)[-1]


def _help(call: ast.Call) -> str:
    text = keyword(call, "help")
    return " ".join(text.value.split()) if isinstance(text, ast.Constant) and isinstance(text.value, str) else ""


# click


def is_click(module: Module, decorator: ast.expr, *last: str) -> bool:
    """Whether a decorator is one of click's of these names."""
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = module.resolved(module.dotted(call))
    return name.split(".")[0] in ("click", "rich_click", "asyncclick") and name.rsplit(".", 1)[-1] in last


def click_name(call: ast.Call) -> str | None:
    """The parameter that `click.option` fills: a name without dashes, else the first with two, else the first."""
    names = spelled(call)
    if names is None:
        return None
    plain = [n for n in names if n.isidentifier()]
    long = [n for n in names if n.startswith("--")]
    chosen = (plain or long or list(names))[0]
    return chosen.split("/")[0].strip().lstrip("-").replace("-", "_").lower()


def _click(module: Module) -> Iterator[Option]:
    for node, scope in _functions(module):
        for decorator in node.decorator_list:
            if not isinstance(decorator, ast.Call) or not is_click(module, decorator, "option", "argument"):
                continue
            name, names = click_name(decorator), spelled(decorator)
            if name is None or names is None:
                continue
            flags = tuple(p.strip() for n in names for p in n.split("/") if p.strip().startswith("-"))
            flag_kind = keyword(decorator, "is_flag")
            switch = any("/" in n for n in names) or (isinstance(flag_kind, ast.Constant) and flag_kind.value is True)
            written = keyword(decorator, "default")
            if written is not None:
                default = default_of(module, written, scope.parent or scope)
            else:
                default = Default(False if switch else None, module.line(decorator), False)
            yield Option(
                name=name,
                flags=flags,
                default=default.value,
                origin=Origin.CLICK,
                source=default.source,
                editable=default.editable,
                help=_help(decorator),
                owner=node.name,
                takes_value=not switch,
            )


# Dataclasses, parameters, constants


def is_dataclass(module: Module, node: ast.ClassDef) -> bool:
    """Whether a class is decorated as a dataclass (the standard library's, flax's or pydantic's)."""
    for decorator in node.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        if module.resolved(module.dotted(call)).rsplit(".", 1)[-1] == "dataclass":
            return True
    return False


def field_default(module: Module, value: ast.expr) -> ast.expr | None:
    """The default expression of a dataclass field, also inside `field(default=...)`."""
    if isinstance(value, ast.Call) and module.last_name(value) == "field":
        return keyword(value, "default")
    return value


def _dataclass_fields(module: Module) -> Iterator[Option]:
    parsed_by_flags = {
        module.dotted(a)
        for call, _ in module.calls_by_name.get("HfArgumentParser", ())
        for argument in call.args
        for a in (argument.elts if isinstance(argument, ast.Tuple | ast.List) else [argument])
    }
    for node, scope in list(module.scopes.items()):
        if not isinstance(node, ast.ClassDef) or not is_dataclass(module, node):
            continue
        for statement in node.body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if "ClassVar" in module.dotted(statement.annotation):
                continue
            name = statement.target.id
            written = field_default(module, statement.value) if statement.value is not None else None
            found = default_of(module, written, scope) if written is not None else None
            yield Option(
                name=name,
                flags=(f"--{name}",) if node.name in parsed_by_flags else (),
                default=found.value if found else None,
                origin=Origin.DATACLASS,
                source=found.source if found else module.line(statement),
                editable=found.editable if found else False,
                help=_field_help(statement.value),
                owner=node.name,
            )


def _field_help(value: ast.expr | None) -> str:
    metadata = keyword(value, "metadata") if isinstance(value, ast.Call) else None
    if isinstance(metadata, ast.Dict):
        for key, text in zip(metadata.keys, metadata.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "help" and isinstance(text, ast.Constant):
                return " ".join(str(text.value).split())
    return ""


def _functions(module: Module) -> Iterator[tuple[Function, Scope]]:
    for node, scope in list(module.scopes.items()):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, scope


def defaults_of(node: Function) -> Iterator[tuple[str, ast.expr]]:
    """The parameters of a function that have a default."""
    positional = [*node.args.posonlyargs, *node.args.args]
    for argument, default in zip(reversed(positional), reversed(node.args.defaults), strict=False):
        yield argument.arg, default
    for argument, keyword_default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if keyword_default is not None:
            yield argument.arg, keyword_default


def _parameters(module: Module) -> Iterator[Option]:
    for node, scope in _functions(module):
        for name, written in defaults_of(node):
            found = default_of(module, written, scope.parent or scope)
            if found.value is not None:
                yield Option(name, (), found.value, Origin.FUNCTION, found.source, found.editable, owner=node.name)


def _constants(module: Module) -> Iterator[Option]:
    known: dict[str, Literal] = {}
    for name, bindings in module.scope.bindings.items():
        bound = bindings[0]
        if not _CONSTANT.fullmatch(name) or len(bindings) > 1 or bound.conditional or bound.index is not None:
            continue
        value = folded(bound.value, known)
        if bound.value is None or value is NOT_LITERAL:
            continue
        known[name] = value
        if value is not None:
            yield Option(name, (), value, Origin.CONSTANT, module.place(bound.value), True)


def _configurator(module: Module) -> Iterator[Option]:
    """The convention of nanoGPT: `exec(open('configurator.py').read())` makes every global before it a flag."""
    end = None
    for call, _ in module.calls_by_name.get("open", ()):
        path = call.args[0] if call.args else None
        if isinstance(path, ast.Constant) and str(path.value).endswith("configurator.py"):
            end = call.lineno
    if end is None:
        return
    for name, bindings in module.scope.bindings.items():
        before = [b for b in bindings if b.value is not None and b.value.lineno < end]
        if len(before) != 1 or name.startswith("_") or before[0].conditional or before[0].index is not None:
            continue
        value = folded(before[0].value)
        if before[0].value is not None and value is not NOT_LITERAL and not isinstance(value, tuple):
            source = module.place(before[0].value)
            yield Option(name, (f"--{name}",), value, Origin.CONSTANT, source, value is not None)


# A file that is a configuration


def configuration(module: Module) -> list[SettingValue] | None:
    """The settings of a file that holds (almost) nothing but assignments, such as nanoGPT's or mmengine's.

    None where the file is a program. A value that is assigned twice counts as it is last; keys of nested `dict(...)`
    are joined by dots.
    """
    found: dict[str, SettingValue] = {}
    known: dict[str, Literal] = {}
    count = 0
    for statement in module.tree.body:
        if isinstance(statement, _MINOR) or (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        ):
            continue
        if isinstance(statement, ast.AnnAssign):
            targets: list[ast.expr] = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        else:
            return None
        if statement.value is None or not all(isinstance(t, ast.Name) for t in targets):
            return None
        count += 1
        for target in targets:
            assert isinstance(target, ast.Name)
            value = folded(statement.value, known)
            if value is not NOT_LITERAL:
                known[target.id] = value
            else:
                known.pop(target.id, None)
            if not target.id.startswith("__"):
                for name in [n for n in found if n == target.id or n.startswith(target.id + ".")]:
                    del found[name]
                site = behind_statement(module, statement) if len(targets) == 1 else None
                _note(module, found, known, target.id, statement.value, 0, site)
    return list(found.values()) if found and 2 * len(found) >= count else None


def _note(
    module: Module,
    found: dict[str, SettingValue],
    known: dict[str, Literal],
    name: str,
    node: ast.expr,
    depth: int,
    site: Site | None,
) -> None:
    value = folded(node, known)
    if value is not NOT_LITERAL:
        syntax = None if value is None else "python"
        found[name] = SettingValue(name, value, Role.FILE, module.place(node, key=name), syntax, site=site)
    elif depth < _NESTED_LIMIT:
        keywords = {id(k.value): k for k in node.keywords} if isinstance(node, ast.Call) else {}
        keys = dict(zip(map(id, node.values), node.keys, strict=True)) if isinstance(node, ast.Dict) else {}
        for key, inner in entries(node):
            behind = behind_entry(module, keywords.get(id(inner), inner), keys.get(id(inner)))
            _note(module, found, known, f"{name}.{key}", inner, depth + 1, behind)


def entries(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Keys and values of a `{...}` or `dict(...)` that are written there."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        yield from ((k.arg, k.value) for k in node.keywords if k.arg is not None)
