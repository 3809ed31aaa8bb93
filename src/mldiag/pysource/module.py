"""A parsed Python file: its scopes, what each name is bound to, its calls, and the place of every node."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from mldiag.artifacts import Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.spans import Spans

SIZE_LIMIT = 2 * 2**20
"""Largest source in bytes; larger ones are generated data, and their syntax tree takes a gigabyte."""

_LINE_END = lazily(rb"\r\n|\r|\n")
_DOTTED_LIMIT = 200  # characters of a dotted name; longer ones are chains of calls
_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ANY = "*"
"""The name of a store that may go to any attribute (`setattr(args, key, value)`, `vars(args).update(...)`)."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Binding(Struct, frozen=True, eq=False):
    """One place where a name gets a value.

    Attributes:
        value: the assigned expression; None where it is not one (a loop, an import, an augmented assignment).
        index: the element of `value`, which is unpacked.
        definition: the function or class that the name is.
        conditional: not every run passes here.
    """

    scope: Scope
    node: ast.AST
    value: ast.expr | None = None
    index: int | None = None
    definition: Function | ast.ClassDef | None = None
    conditional: bool = False


class Store(Struct, frozen=True, eq=False):
    """An assignment to an attribute or a constant key: `base.name = value`, `base["name"] = value`."""

    scope: Scope
    base: ast.expr
    name: str
    value: ast.expr | None
    position: tuple[int, int]
    conditional: bool


class Scope(Struct, eq=False):
    """A module, class, function, lambda or comprehension."""

    node: ast.AST
    parent: Scope | None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    params: tuple[str, ...] = ()
    returns: list[ast.expr | None] = field(default_factory=list)
    generator: bool = False
    outer_names: set[str] = field(default_factory=set)

    @property
    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)

    @property
    def method_of(self) -> Scope | None:
        """The class that this function is a method of."""
        return self.parent if self.parent is not None and self.parent.is_class else None


class Module:
    """A parsed file.

    Args:
        file: its `text` must be readable.

    Attributes:
        scopes: of every module, class, function, lambda and comprehension.
        calls: every call, in the order of the source; `calls_by_name`: the same by the last part of their name.
        stores: assignments to attributes and constant keys, by that name.
        uses: where a name's value is handed on: neither called, nor only looked into (`name.attr`), nor an annotation;
            `looked_into`: the `name` of every `name.attr`.
        filled: names of what gets values under keys that the source does not tell (`d[key] = value`, `d.update(...)`).
        runs_text: names of the module may get values from text (`exec(...)`, `globals()[key] = value`).
        names: everything that is read; `imports`: the modules; `aliases`: what an import calls them.
        changes_argv: the program edits its own command line.
        line_end: how lines end.

    Raises:
        ReadError: no valid Python, with the line; or too large.
    """

    def __init__(self, file: File) -> None:
        if file.size > SIZE_LIMIT:
            raise ReadError(
                f"a source of {file.size / 1e6:,.1f} MB, more than the {SIZE_LIMIT / 1e6:,.0f} MB that are read"
            )
        self.spans = Spans(file)
        self.tree = _parsed(file.text)
        self._starts = [0, *(m.end() for m in _LINE_END.finditer(self.spans.data))]
        self.line_end = "\r\n" if b"\r\n" in self.spans.data else "\n"
        self.scope = Scope(self.tree, None)
        self.scopes: dict[ast.AST, Scope] = {self.tree: self.scope}
        self.calls: list[tuple[ast.Call, Scope]] = []
        self.calls_by_name: dict[str, list[tuple[ast.Call, Scope]]] = {}
        self.stores: dict[str, list[Store]] = {}
        self.filled: list[tuple[ast.Name, Scope]] = []
        self.runs_text = False
        self.parents: dict[ast.AST, ast.AST] = {}
        self.uses: dict[str, list[tuple[ast.Name, Scope]]] = {}
        self.looked_into: dict[str, list[tuple[ast.Name, Scope]]] = {}
        self.names: set[str] = set()
        self.imports: dict[str, None] = {}
        self.aliases: dict[str, str] = {}
        self.changes_argv = False
        self._handled: set[ast.AST] = set()
        self._dotted: dict[ast.AST, str] = {}
        _Walk(self).run()

    def place(self, node: ast.AST, *, key: str | None = None) -> Source:
        """The place of a node, with its byte span."""
        start, end = self.span(node)
        return self.spans.source(start, end, key=key)

    def line(self, node: ast.AST, *, key: str | None = None) -> Source:
        """The place where a node begins, without a span to edit."""
        start, _ = self.span(node)
        found = self.spans.source(start, start, key=key)
        return Source(found.path, found.line, found.column, key, excerpt=found.excerpt)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """The bytes of a node in the file's text as UTF-8."""
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.arg)
        assert node.end_lineno is not None and node.end_col_offset is not None  # noqa: PT018
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def dotted(self, node: ast.AST) -> str:
        """A name as written: `tf.keras.Model`, `build_parser().parse_args`; empty where it has none."""
        chain: list[ast.AST] = []
        while node not in self._dotted and isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
            chain.append(node)
            node = node.func if isinstance(node, ast.Call) else node.value
        name = self._dotted.get(node, node.id if isinstance(node, ast.Name) else "")
        for outer in reversed(chain):
            if isinstance(outer, ast.Attribute):
                name = f"{name[-_DOTTED_LIMIT:]}.{outer.attr}" if name else outer.attr
            elif name:
                name += "()" if isinstance(outer, ast.Call) else "[]"
            self._dotted[outer] = name
        return name

    def resolved(self, name: str) -> str:
        """A dotted name with its first part replaced by what an import binds it to."""
        first, dot, rest = name.partition(".")
        plain = first.rstrip("()[]")
        own = any(b.definition is not None for b in self.scope.bindings.get(plain, ()))
        if plain not in self.aliases or own:
            return name
        return self.aliases[plain] + first[len(plain) :] + dot + rest

    def last_name(self, call: ast.Call) -> str:
        """The last part of what a call calls, with imports resolved: `from torch import Embedding as E` gives it."""
        return self.resolved_call(call).rsplit(".", 1)[-1]

    def resolved_call(self, call: ast.Call) -> str:
        return self.resolved(self.dotted(call.func))

    def binding(self, name: str, scope: Scope) -> tuple[Scope, list[Binding]] | None:
        """The scope that a name belongs to when it is read in `scope`, and all that binds it there."""
        current: Scope | None = scope
        while current is not None:
            if (not current.is_class or current is scope) and (name in current.bindings or name in current.params):
                return current, current.bindings.get(name, [])
            current = current.parent
        return None

    def every_use(self, name: str) -> list[tuple[ast.Name, Scope]]:
        """Where a name is handed on or looked into."""
        return [*self.uses.get(name, ()), *self.looked_into.get(name, ())]

    def definition(self, node: ast.AST, scope: Scope) -> Function | ast.ClassDef | None:
        """The function or class of this file that a name stands for; None where it may be another."""
        if not isinstance(node, ast.Name):
            return None
        found = self.binding(node.id, scope)
        if found is None or len(found[1]) != 1 or node.id in found[0].params:
            return None
        return found[1][0].definition


def _parsed(text: str) -> ast.Module:
    zero = text.find("\0")
    if zero >= 0:
        raise ReadError("not Python source: it holds a zero byte", line=text.count("\n", 0, zero) + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the file are no concern of ours
            return ast.parse(text)
    except SyntaxError as error:
        raise ReadError(f"not valid Python 3: {_said(error, text)}", line=error.lineno) from error
    except (RecursionError, MemoryError, ValueError) as error:
        raise ReadError("expressions are nested too deeply, or numbers too long, to be read") from error


def _said(error: SyntaxError, text: str) -> str:
    message = (error.msg or "invalid syntax").rstrip(".")
    lines = text.splitlines()
    line = lines[error.lineno - 1] if error.lineno and error.lineno <= len(lines) else ""
    if message.startswith("Missing parentheses in call to") or re.match(r"\s*(print|exec)\s+[\"'\w]", line):
        return "a print or exec statement, as Python 2 has it"
    return message[0].lower() + message[1:]


class _Walk:
    """One pass over the tree, without recursion."""

    def __init__(self, module: Module) -> None:
        self.module = module
        # Node, scope, whether it runs only under a condition, whether a read of a name is no use of its value.
        self.stack: list[tuple[ast.AST, Scope, bool, bool]] = []

    def run(self) -> None:
        self.stack = [(n, self.module.scope, False, False) for n in reversed(self.module.tree.body)]
        while self.stack:
            node, scope, conditional, quiet = self.stack.pop()
            handler = _HANDLERS.get(type(node))
            if handler is not None and handler(self, node, scope, conditional, quiet):
                continue
            inner = conditional or (isinstance(node, _BRANCHES) and not _is_main_guard(node))
            self._push(node, scope, inner, quiet)

    def _push(self, node: ast.AST, scope: Scope, conditional: bool, quiet: bool) -> None:
        parents, stack = self.module.parents, self.stack
        at = len(stack)
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                if value._fields:  # operators and contexts have none
                    parents[value] = node
                    stack.append((value, scope, conditional, quiet))
            elif isinstance(value, list):
                for item in value:
                    if isinstance(item, ast.AST) and type(item) is not ast.Constant:
                        parents[item] = node
                        stack.append((item, scope, conditional, quiet))
        stack[at:] = stack[at:][::-1]

    def _later(self, nodes: Iterable[ast.AST | None], scope: Scope, conditional: bool, quiet: bool = False) -> None:
        self.stack += [(n, scope, conditional, quiet) for n in [n for n in nodes if n is not None][::-1]]

    def _bind(self, name: str, binding: Binding) -> None:
        scope = binding.scope
        if name in scope.outer_names:
            # Assigned through `global` or `nonlocal`: no outer scope that has the name can count on one value.
            outer = scope.parent
            while outer is not None:
                outer.bindings.setdefault(name, []).append(Binding(outer, binding.node))
                outer = outer.parent
            return
        scope.bindings.setdefault(name, []).append(binding)

    def _target(
        self, target: ast.AST, value: ast.expr | None, index: int | None, scope: Scope, conditional: bool
    ) -> None:
        """Notes one target of an assignment; unpacked literals are taken apart."""
        module = self.module
        module._handled.add(target)
        if isinstance(target, ast.Name):
            self._bind(target.id, Binding(scope, target, value, index, conditional=conditional))
        elif isinstance(target, ast.Tuple | ast.List):
            same = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts) and index is None
            plain = not any(isinstance(e, ast.Starred) for e in (*target.elts, *(value.elts if same else ())))  # type: ignore[union-attr]
            for position, element in enumerate(target.elts):
                if same and plain:
                    self._target(element, value.elts[position], None, scope, conditional)  # type: ignore[union-attr]
                else:
                    whole = value if index is None and plain else None
                    self._target(element, whole, position, scope, conditional)
        elif isinstance(target, ast.Starred):
            self._target(target.value, None, None, scope, conditional)
        elif isinstance(target, ast.Attribute | ast.Subscript):
            name = target.attr if isinstance(target, ast.Attribute) else text_key(target)
            if name is not None:
                at = (target.lineno, target.col_offset)
                kept = value if index is None else None
                store = Store(scope, target.value, name, kept, at, conditional)
                module.stores.setdefault(name, []).append(store)
            elif module.dotted(target.value) == "sys.argv":
                module.changes_argv = True
            elif isinstance(target, ast.Subscript):
                self._fill(target.value, target, scope)

    # Handlers return True where they have dealt with the node's children themselves.

    def _constant(self, node: ast.Constant, scope: Scope, conditional: bool, quiet: bool) -> bool:
        return True

    def _name(self, node: ast.Name, scope: Scope, conditional: bool, quiet: bool) -> bool:
        module = self.module
        if isinstance(node.ctx, ast.Load):
            module.names.add(node.id)
            if not quiet:
                module.uses.setdefault(node.id, []).append((node, scope))
        elif node not in module._handled:
            self._bind(node.id, Binding(scope, node, conditional=conditional))
        return True

    def _attribute(self, node: ast.Attribute, scope: Scope, conditional: bool, quiet: bool) -> bool:
        if isinstance(node.ctx, ast.Load):
            self.module.names.add(node.attr)
        elif node not in self.module._handled:
            self._target(node, None, None, scope, conditional)
        if isinstance(node.value, ast.Name):
            # `LM.from_pretrained`: the class is named, not handed on.
            self.module.names.add(node.value.id)
            self.module.parents[node.value] = node
            self.module.looked_into.setdefault(node.value.id, []).append((node.value, scope))
            return True
        return False

    def _subscript(self, node: ast.Subscript, scope: Scope, conditional: bool, quiet: bool) -> bool:
        key = text_key(node)
        if isinstance(node.ctx, ast.Load):
            if key is not None and key.isidentifier():
                self.module.names.add(key)
        elif node not in self.module._handled:
            self._target(node, None, None, scope, conditional)
        return False

    def _assign(self, node: ast.Assign, scope: Scope, conditional: bool, quiet: bool) -> bool:
        for target in node.targets:
            self._target(target, node.value, None, scope, conditional)
        return False

    def _annotated(self, node: ast.AnnAssign, scope: Scope, conditional: bool, quiet: bool) -> bool:
        if node.value is not None or not isinstance(node.target, ast.Name):
            self._target(node.target, node.value, None, scope, conditional)
        self.module._handled.add(node.target)
        self.module.parents.update({node.target: node})
        if node.value is not None:
            self.module.parents[node.value] = node
        self._later([node.annotation], scope, conditional, quiet=True)
        self._later([node.target, node.value], scope, conditional)
        return True

    def _walrus(self, node: ast.NamedExpr, scope: Scope, conditional: bool, quiet: bool) -> bool:
        self._target(node.target, node.value, None, scope, True)
        return False

    def _call(self, node: ast.Call, scope: Scope, conditional: bool, quiet: bool) -> bool:
        module, func = self.module, node.func
        module.calls.append((node, scope))
        last = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
        module.calls_by_name.setdefault(last, []).append((node, scope))
        if last in ("getattr", "get", "pop", "hasattr", "attrgetter"):
            texts = (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))
            module.names.update(t for t in texts if t.isidentifier())
        self._note_indirect(node, last, scope)
        if isinstance(func, ast.Name):
            module.names.add(func.id)
            harmless = func.id in ("isinstance", "issubclass", "super", "type", "print")
            children: list[ast.AST] = [*node.args, *node.keywords]
            for child in reversed(children):
                module.parents[child] = node
                named = harmless and isinstance(child, ast.Name | ast.Tuple)
                self.stack.append((child, scope, conditional, quiet or named))
            return True
        return False

    def _fill(self, filled: ast.expr, node: ast.expr, scope: Scope) -> None:
        """Notes that something gets values under keys that only the running program knows."""
        base: ast.expr | None = None
        if isinstance(filled, ast.Name):
            self.module.filled.append((filled, scope))
        elif isinstance(filled, ast.Attribute) and filled.attr == "__dict__":
            base = filled.value
        elif isinstance(filled, ast.Call):
            name = self.module.dotted(filled.func)
            base = filled.args[0] if name == "vars" and filled.args else None
            self.module.runs_text |= name == "globals"
        if base is not None:
            store = Store(scope, base, ANY, None, (node.lineno, node.col_offset), True)
            self.module.stores.setdefault(ANY, []).append(store)

    def _note_indirect(self, node: ast.Call, last: str, scope: Scope) -> None:
        """Assignments to attributes that are written as calls."""
        base, name, func = None, ANY, node.func
        value: ast.expr | None = None
        if last in ("setattr", "__setattr__") and len(node.args) == 3:
            base, key = node.args[0], node.args[1]
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                name, value = key.value, node.args[2]
        elif last == "update" and isinstance(func, ast.Attribute):
            self._fill(func.value, node, scope)
        elif last == "exec" and isinstance(func, ast.Name):
            self.module.runs_text = True
        if base is not None:
            store = Store(scope, base, name, value, (node.lineno, node.col_offset), value is None)
            self.module.stores.setdefault(name, []).append(store)

    def _function(self, node: Function, scope: Scope, conditional: bool, quiet: bool) -> bool:
        self._bind(node.name, Binding(scope, node, definition=node, conditional=conditional))
        inner = Scope(node, scope, params=_parameters(node.args))
        self.module.scopes[node] = inner
        self._later(node.body, inner, False)
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        self._later([*(a.annotation for a in arguments), node.returns], scope, conditional, quiet=True)
        self._later([*node.decorator_list, *node.args.defaults, *node.args.kw_defaults], scope, conditional)
        return True

    def _class(self, node: ast.ClassDef, scope: Scope, conditional: bool, quiet: bool) -> bool:
        self._bind(node.name, Binding(scope, node, definition=node, conditional=conditional))
        inner = Scope(node, scope)
        self.module.scopes[node] = inner
        self._later(node.body, inner, False)
        self._later(node.bases, scope, conditional, quiet=True)
        self._later([*node.decorator_list, *node.keywords], scope, conditional)
        return True

    def _lambda(self, node: ast.Lambda, scope: Scope, conditional: bool, quiet: bool) -> bool:
        inner = Scope(node, scope, params=_parameters(node.args))
        self.module.scopes[node] = inner
        self._later([*node.args.defaults, *node.args.kw_defaults], scope, conditional)
        self._later([node.body], inner, True)
        return True

    def _comprehension(self, node: ast.AST, scope: Scope, conditional: bool, quiet: bool) -> bool:
        inner = Scope(node, scope)
        self.module.scopes[node] = inner
        self._push(node, inner, True, quiet)
        return True

    def _return(self, node: ast.Return, scope: Scope, conditional: bool, quiet: bool) -> bool:
        scope.returns.append(node.value)
        return False

    def _yield(self, node: ast.AST, scope: Scope, conditional: bool, quiet: bool) -> bool:
        scope.generator = True
        return False

    def _outer(self, node: ast.Global | ast.Nonlocal, scope: Scope, conditional: bool, quiet: bool) -> bool:
        scope.outer_names.update(node.names)
        return True

    def _named(self, node: ast.AST, scope: Scope, conditional: bool, quiet: bool) -> bool:
        """Nodes that bind a name which is no node: exception handlers and patterns."""
        for field_name in ("name", "rest"):
            name = getattr(node, field_name, None)
            if isinstance(name, str):
                self._bind(name, Binding(scope, node, conditional=True))
        return False

    def _import(self, node: ast.Import, scope: Scope, conditional: bool, quiet: bool) -> bool:
        for alias in node.names:
            self.module.imports[alias.name] = None
            bound = alias.asname or alias.name.split(".")[0]
            self.module.aliases[bound] = alias.name if alias.asname else bound
            self._bind(bound, Binding(scope, node, conditional=conditional))
        return True

    def _import_from(self, node: ast.ImportFrom, scope: Scope, conditional: bool, quiet: bool) -> bool:
        for alias in node.names:
            # `from . import data` imports a module; of `from .data import load` the module is `data`.
            module = node.module or alias.name
            self.module.imports[module] = None
            self.module.aliases[alias.asname or alias.name] = f"{module}.{alias.name}" if node.module else alias.name
            self._bind(alias.asname or alias.name, Binding(scope, node, conditional=conditional))
        return True


_HANDLERS: dict[type[ast.AST], Callable[..., bool]] = {
    ast.Constant: _Walk._constant,
    ast.Name: _Walk._name,
    ast.Attribute: _Walk._attribute,
    ast.Subscript: _Walk._subscript,
    ast.Assign: _Walk._assign,
    ast.AnnAssign: _Walk._annotated,
    ast.NamedExpr: _Walk._walrus,
    ast.Call: _Walk._call,
    ast.FunctionDef: _Walk._function,
    ast.AsyncFunctionDef: _Walk._function,
    ast.ClassDef: _Walk._class,
    ast.Lambda: _Walk._lambda,
    ast.ListComp: _Walk._comprehension,
    ast.SetComp: _Walk._comprehension,
    ast.DictComp: _Walk._comprehension,
    ast.GeneratorExp: _Walk._comprehension,
    ast.Return: _Walk._return,
    ast.Yield: _Walk._yield,
    ast.YieldFrom: _Walk._yield,
    ast.Global: _Walk._outer,
    ast.Nonlocal: _Walk._outer,
    ast.ExceptHandler: _Walk._named,
    ast.MatchAs: _Walk._named,
    ast.MatchStar: _Walk._named,
    ast.MatchMapping: _Walk._named,
    ast.Import: _Walk._import,
    ast.ImportFrom: _Walk._import_from,
}


def _is_main_guard(node: ast.AST) -> bool:
    """`if __name__ == "__main__":`, whose body runs whenever the file is the program."""
    test = node.test if isinstance(node, ast.If) else None
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def text_key(node: ast.Subscript) -> str | None:
    """The text that something is indexed with."""
    key = node.slice
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None


def _parameters(arguments: ast.arguments) -> tuple[str, ...]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return tuple(a.arg for a in every if a is not None)
