"""Follows an expression back to the number that it always is, or to the program option that it comes from.

The file is looked at as a whole and never run. An answer is given only where one value is possible: a name that is
assigned once, a parameter whose every call in the file agrees, an attribute that one place sets. Where a second value
could get in (another assignment, a branch, a call that is handed on, code outside the file), there is no answer.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Option, Origin, Scalar, Source
from mldiag.facts.training_source import LIBRARIES
from mldiag.pysource.literals import NOT_LITERAL, combined, converted, folded
from mldiag.pysource.module import ANY, Function, Module, Scope, Store, text_key
from mldiag.pysource.options import defaults_of, entries, field_default, is_click, is_dataclass, keyword

_DEPTH_LIMIT = 60  # steps from an expression to where its number is written; real programs take about ten
_SITE_LIMIT = 8  # calls of one function that are followed
_STEP_LIMIT = 4_000  # expressions looked at for one answer
_TOTAL_LIMIT = 20_000  # ... and for all answers of a file
_STORE_LIMIT = 200  # assignments to attributes of one name, all of which may go to one object

# Decorators that call the function as it was called.
_TRANSPARENT = frozenset({
    "staticmethod", "classmethod", "property", "cached_property", "lru_cache", "cache", "no_grad", "inference_mode",
    "function", "jit", "script", "compile", "record", "wraps", "override", "tf_export", "register_keras_serializable",
})  # fmt: skip
_RECORDS = frozenset({"Namespace", "SimpleNamespace", "dict", "EasyDict", "AttrDict", "DotDict", "edict", "DictConfig",
                      "ConfigDict", "Munch"})  # fmt: skip
_SAME = ("int", "copy.copy", "copy.deepcopy", "vars", "deepcopy")


class Number(Struct, frozen=True):
    """A value and where it is written.

    Attributes:
        value: None where it is an option's value as parsed from the command line.
        option: the option or dataclass field that it comes from.
        uses_default: it is that option's declared default, whatever the command line says.
        through: names of the functions and classes whose calls in this file gave it.
    """

    value: Scalar
    source: Source
    option: str | None = None
    uses_default: bool = False
    through: frozenset[str] = frozenset()

    @property
    def meaning(self) -> tuple[Scalar, str | None, bool]:
        return self.value, self.option, self.uses_default


class Kind(StrEnum):
    """What an object of the program is, as far as it matters here."""

    PARSER = "parser"
    NAMESPACE = "namespace"
    INSTANCE = "instance"
    RECORD = "record"
    CLASS = "class"
    FUNCTION = "function"


class Frame(Struct, frozen=True, eq=False):
    """One call of a function of this file, whose arguments its parameters stand for.

    Attributes:
        caller: the frame of the function that the call stands in, where it is known.
        bound: the first parameter (`self`, `cls`) is not among the call's arguments.
        receiver: what that first parameter is, where it is known.
    """

    function: ast.AST
    call: ast.Call
    scope: Scope
    caller: Frame | None = None
    bound: bool = False
    receiver: Thing | None = None


class _Stop(Struct, frozen=True):
    """A name that an object went through, at which position of that scope (None: from another function)."""

    scope: Scope
    name: str
    position: tuple[int, int] | None
    frame: Frame | None


class Thing(Struct, frozen=True, eq=False):
    """An object.

    Attributes:
        node: what makes it: the parser's or namespace's call, the class of an instance, the literal of a record.
        frame: the call that constructs an instance.
        default: a namespace that holds every option's declared default.
        trail: the names it went through on its way here.
        through: as of `Number`; an attribute of the object came the same way.
    """

    kind: Kind
    node: ast.AST
    scope: Scope
    frame: Frame | None = None
    default: bool = False
    trail: tuple[_Stop, ...] = ()
    through: frozenset[str] = frozenset()


Value = Number | Thing
Values = tuple[Value, ...] | None
"""Every value that is possible; None where that is not known."""


class Tracer:
    """Answers for one file.

    Args:
        options: what the file declares.
    """

    def __init__(self, module: Module, options: Iterable[Option]) -> None:
        self.module = module
        self._options: dict[tuple[Origin, str], list[Option]] = {}
        for option in options:
            self._options.setdefault((option.origin, option.name), []).append(option)
        self._steps = 0
        self._total = 0
        self._memo: dict[tuple[ast.AST, Frame | None], Values] = {}
        self._frames: dict[tuple[object, ...], Frame] = {}
        self._sites: dict[ast.AST, tuple[Frame, ...] | None] = {}
        self._owners: dict[Store, Scope | None] = {}
        self._classes = [s for s in module.scopes.values() if s.is_class]

    def number(self, node: ast.expr, scope: Scope) -> Number | None:
        """The one number, or option, that an expression stands for."""
        self._steps = 0
        values = self._resolve(node, scope, None, 0)
        numbers = [v for v in values or () if isinstance(v, Number)]
        if not values or len(numbers) < len(values) or len({n.meaning for n in numbers}) > 1:
            return None
        return numbers[0]

    def is_called(self, scope: Scope) -> bool:
        """Whether the file itself seems to run the code of a scope; what a decorator runs counts."""
        while scope.parent is not None:
            node = scope.node
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and scope.method_of is None:
                seen = node.name in self.module.calls_by_name or node.name in self.module.uses
                if not seen and not (isinstance(node, ast.FunctionDef) and node.decorator_list):
                    return False
            scope = scope.parent
        return True

    # Expressions

    def _resolve(self, node: ast.expr, scope: Scope, frame: Frame | None, depth: int) -> Values:
        key = (node, frame)
        if key not in self._memo:
            self._steps += 1
            self._total += 1
            if self._steps > _STEP_LIMIT or self._total > _TOTAL_LIMIT or depth > _DEPTH_LIMIT:
                return None
            self._memo[key] = None  # what is defined by itself has no answer
            self._memo[key] = self._resolved(node, scope, frame, depth + 1)
        return self._memo[key]

    def _resolved(self, node: ast.expr, scope: Scope, frame: Frame | None, depth: int) -> Values:
        value = folded(node)
        if value is not NOT_LITERAL and not isinstance(value, tuple):
            return (Number(value, self.module.place(node)),)
        if isinstance(node, ast.Name):
            return self._name(node, scope, frame, depth)
        if isinstance(node, ast.Attribute):
            return self._member_of(node.value, node.attr, scope, frame, depth)
        if isinstance(node, ast.Subscript):
            key = text_key(node)
            return None if key is None else self._member_of(node.value, key, scope, frame, depth)
        if isinstance(node, ast.Call):
            return self._call(node, scope, frame, depth)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node, scope, frame, depth)
        if isinstance(node, ast.NamedExpr):
            return self._resolve(node.value, scope, frame, depth)
        if isinstance(node, ast.Dict):
            return (Thing(Kind.RECORD, node, scope, frame),)
        return None

    def _name(self, node: ast.Name, scope: Scope, frame: Frame | None, depth: int) -> Values:
        found = self.module.binding(node.id, scope)
        if found is None:
            return None
        owner, bindings = found
        inner = frame if frame is not None and frame.function is owner.node else None
        if node.id in owner.params:
            values = None if bindings else self._parameter(owner, node.id, inner, depth)
        elif len(bindings) != 1 or (self.module.runs_text and owner.parent is None and not bindings[0].definition):
            values = None
        elif (definition := bindings[0].definition) is not None:
            kind = Kind.CLASS if isinstance(definition, ast.ClassDef) else Kind.FUNCTION
            return (Thing(kind, definition, owner),)
        elif bindings[0].value is None:
            values = None
        elif bindings[0].index is not None:
            values = self._unpacked(bindings[0].value, bindings[0].index, owner, inner, depth)
        else:
            values = self._resolve(bindings[0].value, owner, inner, depth)
        here = (node.lineno, node.col_offset) if _function_of(scope) is _function_of(owner) else None
        stop = _Stop(owner, node.id, here, inner)
        return _mapped(values, lambda t: replace(t, trail=(*t.trail, stop)))

    def _unpacked(self, node: ast.expr, index: int, scope: Scope, frame: Frame | None, depth: int) -> Values:
        if not isinstance(node, ast.Call):
            return None
        if index == 0 and self.module.last_name(node) == "parse_known_args":
            return self._resolve(node, scope, frame, depth)
        function = self.module.definition(node.func, scope)
        if not isinstance(function, ast.FunctionDef):
            return None
        inner = self._frame(function, node, scope, frame)
        return self._returned(function, inner, depth, index)

    def _arithmetic(self, node: ast.BinOp, scope: Scope, frame: Frame | None, depth: int) -> Values:
        sides = [self._resolve(side, scope, frame, depth) for side in (node.left, node.right)]
        numbers = [s[0] if s is not None and len(s) == 1 and isinstance(s[0], Number) else None for s in sides]
        left, right = numbers
        if left is None or right is None:
            return None
        value = combined(node.op, left.value, right.value)
        if value is NOT_LITERAL or isinstance(value, tuple):
            return None
        return (Number(value, self.module.place(node), through=left.through | right.through),)

    # Calls

    def _call(self, node: ast.Call, scope: Scope, frame: Frame | None, depth: int) -> Values:
        module = self.module
        name = module.resolved_call(node)
        last = name.rsplit(".", 1)[-1]
        if name in _SAME and len(node.args) == 1 and not node.keywords:
            values = self._resolve(node.args[0], scope, frame, depth)
            return _whole(values) if name == "int" else values
        if name == "getattr" and len(node.args) >= 2 and isinstance(node.args[1], ast.Constant):
            return self._member_of(node.args[0], str(node.args[1].value), scope, frame, depth)
        definition = module.definition(node.func, scope)
        if isinstance(definition, ast.ClassDef):
            return (self._constructed(definition, node, scope, frame),)
        if definition is not None:
            return self._returned(definition, self._frame(definition, node, scope, frame), depth)
        if last.endswith("ArgumentParser"):
            return (Thing(Kind.PARSER, node, scope),)
        if last in _RECORDS and not isinstance(node.func, ast.Call):
            if len(node.args) == 1 and not node.keywords:
                return self._resolve(node.args[0], scope, frame, depth)
            return None if node.args else (Thing(Kind.RECORD, node, scope, frame),)
        if isinstance(node.func, ast.Attribute):
            return self._method(node, node.func, scope, frame, depth)
        return None

    def _method(self, node: ast.Call, func: ast.Attribute, scope: Scope, frame: Frame | None, depth: int) -> Values:
        receivers = self._resolve(func.value, scope, frame, depth)
        found: list[Value] = []
        for receiver in receivers or ():
            values = self._sent(node, func.attr, receiver, scope, frame, depth) if isinstance(receiver, Thing) else None
            if values is None:
                return None
            found += values
        return tuple(found) or None

    def _sent(
        self, node: ast.Call, name: str, receiver: Thing, scope: Scope, frame: Frame | None, depth: int
    ) -> Values:
        if receiver.kind is Kind.PARSER:
            if name in ("parse_args", "parse_known_args"):
                default = self._parses_nothing(node, scope, frame, depth)
                return None if default is None else (Thing(Kind.NAMESPACE, node, scope, default=default),)
            wanted = node.args[0] if node.args else None
            if name == "get_default" and isinstance(wanted, ast.Constant):
                return self._option(str(wanted.value), default=True)
            return None
        if receiver.kind is Kind.RECORD and name == "get" and node.args and isinstance(node.args[0], ast.Constant):
            return self._member(receiver, str(node.args[0].value), depth)
        if receiver.kind not in (Kind.CLASS, Kind.INSTANCE):
            return None
        for owner in self._lineage(receiver.node, receiver.scope):
            bindings = owner.bindings.get(name, [])
            if bindings:
                function = bindings[0].definition
                if len(bindings) != 1 or not isinstance(function, ast.FunctionDef):
                    return None
                inner = self._frame(function, node, scope, frame, receiver)
                return self._returned(function, inner, depth)
        return None

    def _parses_nothing(self, call: ast.Call, scope: Scope, frame: Frame | None, depth: int) -> bool | None:
        """Whether `parse_args` is given an empty list (True) or the command line (False); None where that is open."""
        given = call.args[0] if call.args else keyword(call, "args")
        return False if given is None else self._is_empty(given, scope, frame, depth)

    def _is_empty(self, node: ast.expr, scope: Scope, frame: Frame | None, depth: int) -> bool | None:
        value = folded(node)
        if value is None:
            return False
        if value == () or (isinstance(node, ast.Call) and self.module.dotted(node.func) == "split" and not node.args):
            return True
        if isinstance(node, ast.Subscript) and self.module.dotted(node.value) == "sys.argv":
            return False
        if not isinstance(node, ast.Name) or depth > _DEPTH_LIMIT:
            return None
        found = self.module.binding(node.id, scope)
        if found is None or found[1] or not isinstance(found[0].node, ast.FunctionDef):
            return None
        owner = found[0]
        own = frame is not None and frame.function is owner.node
        answers: set[bool | None] = set()
        for site in [frame] if own else self._call_sites(owner) or [None]:
            given = self._argument(owner.node, node.id, site) if site is not None else None
            default = _default_expression(owner.node, node.id)
            if isinstance(given, tuple):
                answers.add(self._is_empty(*given, depth + 1))
            elif given is None and default is not None:
                answers.add(self._is_empty(default, owner, None, depth + 1))
            else:
                answers.add(None)
        return answers.pop() if len(answers) == 1 else None

    def _returned(self, function: Function, frame: Frame, depth: int, index: int | None = None) -> Values:
        """What a function of this file returns: the value of its one `return`."""
        scope = self.module.scopes[function]
        if scope.generator or len(scope.returns) != 1 or isinstance(function, ast.AsyncFunctionDef):
            return None
        if not self._is_transparent(function):
            return None
        node = scope.returns[0]
        if index is not None:
            node = node.elts[index] if isinstance(node, ast.Tuple) and index < len(node.elts) else None
        return None if node is None else self._resolve(node, scope, frame, depth)

    def _is_transparent(self, function: Function) -> bool:
        for decorator in function.decorator_list:
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self.module.dotted(call).rsplit(".", 1)[-1] not in _TRANSPARENT:
                return False
        return True

    def _constructed(self, definition: ast.ClassDef, call: ast.Call, scope: Scope, frame: Frame | None) -> Thing:
        owner = self.module.scopes[definition].parent or self.module.scope
        function: ast.AST = definition
        for lineage in self._lineage(definition, owner):
            made = lineage.bindings.get("__init__", [])
            if made:
                function = made[0].definition or definition
                break
        return Thing(Kind.INSTANCE, definition, owner, self._frame(function, call, scope, frame, bound=True))

    def _frame(
        self,
        function: ast.AST,
        call: ast.Call,
        scope: Scope,
        caller: Frame | None,
        receiver: Thing | None = None,
        *,
        bound: bool = False,
    ) -> Frame:
        if receiver is not None:
            kinds = {d.id for d in getattr(function, "decorator_list", ()) if isinstance(d, ast.Name)}
            bound = "classmethod" in kinds or (receiver.kind is Kind.INSTANCE and "staticmethod" not in kinds)
            if "staticmethod" in kinds:
                receiver = None
        key = (function, call, caller, receiver and receiver.node, receiver and receiver.frame)
        if key not in self._frames:
            self._frames[key] = Frame(function, call, scope, caller, bound, receiver)
        return self._frames[key]

    # Parameters

    def _parameter(self, owner: Scope, name: str, frame: Frame | None, depth: int) -> Values:
        function = owner.node
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            return None
        if self._is_receiver(owner, name):
            return self._receiver(owner, frame)
        if frame is not None:
            return self._given(owner, name, frame, depth)
        if any(is_click(self.module, d, "option") for d in function.decorator_list):
            return self._option(name, default=False, origin=Origin.CLICK)
        found: list[Value] = []
        for site in self._call_sites(owner) or ():
            values = self._given(owner, name, site, depth)
            if values is None:
                return None
            found += values
        return _by_way_of(_called_as(owner), found)

    def _is_receiver(self, owner: Scope, name: str) -> bool:
        """Whether a parameter is the `self` or `cls` of a method."""
        if owner.method_of is None or not owner.params or owner.params[0] != name:
            return False
        decorators = getattr(owner.node, "decorator_list", ())
        return not any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in decorators)

    def _receiver(self, owner: Scope, frame: Frame | None) -> Values:
        if frame is not None and frame.receiver is not None:
            return (frame.receiver,)
        cls = owner.method_of
        assert cls is not None and isinstance(cls.node, ast.ClassDef)  # noqa: PT018
        around = cls.parent or self.module.scope
        if any(isinstance(d, ast.Name) and d.id == "classmethod" for d in getattr(owner.node, "decorator_list", ())):
            return (Thing(Kind.CLASS, cls.node, around),)
        constructs = isinstance(owner.node, ast.FunctionDef) and owner.node.name == "__init__"
        return (Thing(Kind.INSTANCE, cls.node, around, frame if constructs else None),)

    def _given(self, owner: Scope, name: str, frame: Frame, depth: int) -> Values:
        argument = self._argument(owner.node, name, frame)
        if argument == _OPEN:
            return None
        if isinstance(argument, tuple):
            return self._resolve(*argument, depth)
        default = _default_expression(owner.node, name)
        return None if default is None else self._resolve(default, owner.parent or owner, None, depth)

    def _argument(
        self, function: ast.AST, name: str, frame: Frame
    ) -> tuple[ast.expr, Scope, Frame | None] | str | None:
        """The expression that a call gives to a parameter; None where it gives none, `_OPEN` where that is open."""
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        call, arguments = frame.call, function.args
        for given in call.keywords:
            if given.arg == name:
                return given.value, frame.scope, frame.caller
        positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        keyword_only = [a.arg for a in arguments.kwonlyargs]
        if name not in positional and name not in keyword_only:
            return _OPEN  # *args or **kwargs
        starred = next((i for i, a in enumerate(call.args) if isinstance(a, ast.Starred)), None)
        if name in positional:
            index = positional.index(name) - frame.bound
            if starred is not None and starred <= index:
                return _OPEN
            if 0 <= index < len(call.args):
                return call.args[index], frame.scope, frame.caller
        for given in call.keywords:
            if given.arg is None:
                return self._from_mapping(given.value, name)
        return None

    def _from_mapping(self, node: ast.expr, name: str) -> str | None:
        """What `**node` gives to a parameter: nothing, if it is a literal without that key."""
        if isinstance(node, ast.Dict) and all(isinstance(k, ast.Constant) for k in node.keys):
            return _OPEN if name in dict(entries(node)) else None
        return _OPEN

    def _call_sites(self, owner: Scope) -> tuple[Frame, ...] | None:
        """Every call of a function; None where there may be others."""
        if owner.node not in self._sites:
            self._sites[owner.node] = None
            found = self._found_sites(owner)
            self._sites[owner.node] = found if found is not None and len(found) <= _SITE_LIMIT else None
        return self._sites[owner.node]

    def _found_sites(self, owner: Scope) -> tuple[Frame, ...] | None:
        function = owner.node
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or not self._is_transparent(function):
            return None
        module, name = self.module, function.name
        calls = module.calls_by_name.get(name, ())
        if owner.method_of is not None:
            if name == "__init__":
                return self._class_sites(owner.method_of)
            same = [s for s in self._classes if name in s.bindings]
            if len(same) != 1 or len(same[0].bindings[name]) != 1:
                return None
            static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
            return tuple(
                self._frame(function, call, scope, None, bound=not static)
                for call, scope in calls
                if isinstance(call.func, ast.Attribute)
            )
        if self._is_handed_on(function):
            return None
        return tuple(
            self._frame(function, call, scope, None)
            for call, scope in calls
            if module.definition(call.func, scope) is function
        )

    def _class_sites(self, cls: Scope) -> tuple[Frame, ...] | None:
        """Every call that constructs an object through a class's own `__init__`."""
        if cls.node not in self._sites:
            self._sites[cls.node] = None
            self._sites[cls.node] = self._constructions(cls)
        return self._sites[cls.node]

    def _constructions(self, cls: Scope) -> tuple[Frame, ...] | None:
        module, definition = self.module, cls.node
        assert isinstance(definition, ast.ClassDef)
        if self._is_handed_on(definition) or self._constructs_itself(cls):
            return None
        made = cls.bindings.get("__init__", [])
        function: ast.AST = made[0].definition if len(made) == 1 and made[0].definition else definition
        sites = [
            self._frame(function, call, scope, None, bound=True)
            for call, scope in module.calls_by_name.get(definition.name, ())
            if module.definition(call.func, scope) is definition
        ]
        for scope in self._classes:
            node = scope.node
            if not isinstance(node, ast.ClassDef) or scope is cls:
                continue
            if not any(module.definition(b, scope.parent or module.scope) is definition for b in node.bases):
                continue
            own = scope.bindings.get("__init__", [])
            if own:
                inits = module.calls_by_name.get("__init__", ())
                sites += [
                    self._frame(function, call, where, None, bound=module.dotted(call.func).startswith("super"))
                    for call, where in inits
                    if own[0].definition is not None and where.node is own[0].definition
                ]
            else:
                inherited = self._class_sites(scope)
                if inherited is None:
                    return None
                sites += [replace(f, function=function) for f in inherited]
        return tuple(sites) if len(sites) <= _SITE_LIMIT else None

    def _is_handed_on(self, definition: Function | ast.ClassDef) -> bool:
        """Whether a function or class is used other than by calling it, so that calls may be out of sight."""
        uses = self.module.uses.get(definition.name, ())
        return any(self.module.definition(use, scope) is definition for use, scope in uses)

    def _constructs_itself(self, cls: Scope) -> bool:
        """`cls(...)` or `type(self)(...)` inside the class."""
        if any(scope.method_of is cls for _, scope in self.module.calls_by_name.get("cls", ())):
            return True
        return any(
            self.module.dotted(call.func) == "type()" and scope.method_of is cls
            for call, scope in self.module.calls_by_name.get("", ())
        )

    # Attributes and keys

    def _member_of(self, base: ast.expr, name: str, scope: Scope, frame: Frame | None, depth: int) -> Values:
        found: list[Value] = []
        for value in self._resolve(base, scope, frame, depth) or ():
            values = self._member(value, name, depth) if isinstance(value, Thing) else None
            if values is None:
                return None
            found += _by_way_of(value.through, values) or ()
        return tuple(found) or None

    def _member(self, thing: Thing, name: str, depth: int) -> Values:
        changed = self._changed(thing, name, depth)
        if changed is not _UNCHANGED:
            return changed  # type: ignore[return-value]
        if thing.kind is Kind.NAMESPACE:
            return self._option(name, default=thing.default)
        if thing.kind is Kind.RECORD:
            return self._entry(thing, name, depth)
        if thing.kind is Kind.INSTANCE:
            return self._attribute(thing, name, depth)
        if thing.kind is Kind.CLASS:
            return self._class_attribute(thing, name, depth)
        return None

    def _entry(self, thing: Thing, name: str, depth: int) -> Values:
        updates = self.module.calls_by_name.get("update", ())
        if len(updates) > _STORE_LIMIT:
            return None
        for call, scope in updates:
            if isinstance(call.func, ast.Attribute) and self._stop(thing, call.func.value, scope) is not None:
                return None
        if isinstance(thing.node, ast.Dict):
            written = dict(entries(thing.node))
            spread = None in thing.node.keys
        else:
            assert isinstance(thing.node, ast.Call)
            written = {k.arg: k.value for k in thing.node.keywords if k.arg is not None}
            spread = any(k.arg is None for k in thing.node.keywords)
        if name not in written or spread:
            return None
        return self._resolve(written[name], thing.scope, thing.frame, depth)

    def _option(self, name: str, *, default: bool, origin: Origin = Origin.ARGPARSE) -> Values:
        """The value of an option: as parsed, or its declared default."""
        declared = self._options.get((origin, name), [])
        if len(declared) != 1:
            return None
        option = declared[0]
        if not default:
            return (Number(None, option.source, name),)
        for call, _ in self.module.calls_by_name.get("set_defaults", ()):
            if any(k.arg is None or k.arg == name for k in call.keywords):
                return None
        if option.default is None or isinstance(option.default, tuple):
            return None
        return (Number(option.default, option.source, name, True),)

    def _attribute(self, thing: Thing, name: str, depth: int) -> Values:
        lineage = list(self._lineage(thing.node, thing.scope))
        stores = [s for s in self._stores(name) if self._owner(s) in lineage]
        if any(s.value is None or s.conditional for s in stores) or len(stores) > 1:
            return None
        if stores:
            value, scope = stores[0].value, stores[0].scope
            assert value is not None
            frame = thing.frame if thing.frame is not None and thing.frame.function is scope.node else None
            return self._resolve(value, scope, frame, depth)
        for owner in lineage:
            if name in owner.bindings:
                if isinstance(owner.node, ast.ClassDef) and is_dataclass(self.module, owner.node):
                    return self._field(thing, owner, name, depth)
                return self._class_attribute(Thing(Kind.CLASS, owner.node, thing.scope), name, depth)
            if isinstance(owner.node, ast.ClassDef) and is_dataclass(self.module, owner.node):
                return self._field(thing, owner, name, depth)
        return None

    def _field(self, thing: Thing, owner: Scope, name: str, depth: int) -> Values:
        """A field of a dataclass instance: the argument of its construction, else the declared default."""
        assert isinstance(owner.node, ast.ClassDef)
        annotated = [s.target for s in owner.node.body if isinstance(s, ast.AnnAssign)]
        fields = [t.id for t in annotated if isinstance(t, ast.Name)]
        frames = (thing.frame,) if thing.frame is not None else self._class_sites(owner) or ()
        found: list[Value] = []
        for frame in frames:
            call = frame.call
            given = keyword(call, name)
            index = fields.index(name) if name in fields else -1
            if any(k.arg is None for k in call.keywords) or any(isinstance(a, ast.Starred) for a in call.args):
                return None
            if given is None and call.args:
                if len(owner.node.bases) or index < 0:
                    return None
                given = call.args[index] if index < len(call.args) else None
            if given is not None:
                values = self._resolve(given, frame.scope, frame.caller, depth)
            else:
                values = self._declared(owner, name, depth)
            if values is None:
                return None
            found += values
        return _by_way_of(frozenset() if thing.frame is not None else _called_as(owner), found)

    def _declared(self, owner: Scope, name: str, depth: int) -> Values:
        """The declared default of a dataclass field."""
        bindings = owner.bindings.get(name, [])
        if len(bindings) != 1 or bindings[0].value is None:
            return None
        written = field_default(self.module, bindings[0].value)
        values = None if written is None else self._resolve(written, owner, None, depth)
        if values is None or not all(isinstance(v, Number) and v.value is not None for v in values):
            return None
        return tuple(Number(v.value, v.source, name, True) for v in values if isinstance(v, Number))

    def _class_attribute(self, thing: Thing, name: str, depth: int) -> Values:
        for owner in self._lineage(thing.node, thing.scope):
            bindings = owner.bindings.get(name, [])
            if not bindings:
                continue
            if isinstance(owner.node, ast.ClassDef) and is_dataclass(self.module, owner.node):
                return self._declared(owner, name, depth)
            if len(bindings) != 1 or bindings[0].value is None or bindings[0].index is not None:
                return None
            return self._resolve(bindings[0].value, owner, None, depth)
        return None

    def _lineage(self, node: ast.AST, scope: Scope) -> Iterator[Scope]:
        """A class and its bases in this file, the nearest first."""
        seen: set[ast.AST] = set()
        waiting = [node]
        while waiting:
            current = waiting.pop(0)
            if not isinstance(current, ast.ClassDef) or current in seen:
                continue
            seen.add(current)
            owner = self.module.scopes[current]
            yield owner
            bases = (self.module.definition(b, owner.parent or scope) for b in current.bases)
            waiting += [b for b in bases if b is not None]

    def _stores(self, name: str) -> list[Store]:
        return [*self.module.stores.get(name, ()), *self.module.stores.get(ANY, ())]

    def _owner(self, store: Store) -> Scope | None:
        """The class whose `self` a store goes to."""
        if store not in self._owners:
            owner = None
            if isinstance(store.base, ast.Name):
                found = self.module.binding(store.base.id, store.scope)
                if found is not None and self._is_receiver(found[0], store.base.id) and not found[1]:
                    owner = found[0].method_of
            self._owners[store] = owner
        return self._owners[store]

    def _changed(self, thing: Thing, name: str, depth: int) -> Values | object:
        """What an assignment from outside made of an attribute; `_UNCHANGED` where there is none."""
        if self._is_filled(thing, depth) or self._is_lent(thing):
            return None
        matched: list[tuple[Store, _Stop]] = []
        stores = self._stores(name)
        if len(stores) > _STORE_LIMIT:
            return None
        for store in stores:
            if self._owner(store) is not None:
                continue
            stop = self._stop(thing, store.base, store.scope)
            if stop is not None:
                if stop.position is None or store.conditional or store.position > stop.position:
                    return None
                matched.append((store, stop))
            elif self._may_be(store, thing, depth):
                return None
        if not matched:
            return _UNCHANGED
        store, stop = matched[0]
        if len(matched) > 1 or store.value is None:
            return None
        return self._resolve(store.value, store.scope, stop.frame, depth)

    def _is_filled(self, thing: Thing, depth: int) -> bool:
        """Whether values get into an object under keys that the source does not tell (`vars(args)[key] = value`)."""
        for base, scope in self.module.filled[:_STORE_LIMIT]:
            if self._stop(thing, base, scope) is not None:
                return True
            others = self._resolve(base, scope, None, depth)
            if any(isinstance(o, Thing) and o.kind is thing.kind and o.node is thing.node for o in others or ()):
                return True
        return False

    def _is_lent(self, thing: Thing) -> bool:
        """Whether an object of fixed values is given to a function of another file, before it is looked into."""
        if thing.kind not in (Kind.INSTANCE, Kind.RECORD) and not thing.default:
            return False
        for stop in thing.trail:
            for use, scope in self.module.uses.get(stop.name, ()):
                found = self.module.binding(stop.name, scope)
                given = self.module.parents.get(use)
                if isinstance(given, ast.keyword):
                    given = self.module.parents.get(given)
                if found is None or found[0] is not stop.scope or not isinstance(given, ast.Call):
                    continue
                earlier = stop.position is None or (use.lineno, use.col_offset) < stop.position
                if earlier and use is not given.func and self._is_elsewhere(given):
                    return True
        return False

    def _is_elsewhere(self, call: ast.Call) -> bool:
        """A call of a function of the program's own that stands in another file; classes and libraries only read."""
        first = self.module.dotted(call.func).split(".")[0]
        name = self.module.resolved_call(call)
        library = name.split(".")[0] in LIBRARIES or name.split(".")[0] in sys.stdlib_module_names
        return first in self.module.aliases and not library and not name.rsplit(".", 1)[-1][:1].isupper()

    def _stop(self, thing: Thing, base: ast.expr, scope: Scope) -> _Stop | None:
        """Where an object went through the name that something is done to."""
        found = self.module.binding(base.id, scope) if isinstance(base, ast.Name) else None
        if found is None or not isinstance(base, ast.Name):
            return None
        return next((s for s in thing.trail if s.scope is found[0] and s.name == base.id), None)

    def _may_be(self, store: Store, thing: Thing, depth: int) -> bool:
        """Whether a store may go to an object under a name that it was not followed through."""
        if isinstance(store.base, ast.Name) and self._is_foreign(store.base, store.scope):
            return False
        others = self._resolve(store.base, store.scope, None, depth)
        if others is None:
            return True
        return any(isinstance(o, Thing) and o.kind is thing.kind and o.node is thing.node for o in others)

    def _is_foreign(self, base: ast.Name, scope: Scope) -> bool:
        """A name for an object of an imported class."""
        found = self.module.binding(base.id, scope)
        if found is None or len(found[1]) != 1 or base.id in found[0].params:
            return False
        made = found[1][0].value
        if not isinstance(made, ast.Call):
            return False
        name = self.module.resolved_call(made)
        first = self.module.dotted(made.func).split(".")[0]
        return first in self.module.aliases and name.rsplit(".", 1)[-1][:1].isupper() and not name.endswith("Namespace")


_OPEN = "open"
_UNCHANGED = object()


def _mapped(values: Values, change: Callable[[Thing], Thing]) -> Values:
    return None if values is None else tuple(change(v) if isinstance(v, Thing) else v for v in values)


def _by_way_of(names: frozenset[str], values: Iterable[Value]) -> Values:
    return tuple(replace(v, through=v.through | names) if names else v for v in values) or None


def _called_as(owner: Scope) -> frozenset[str]:
    """The name by which code calls a function, or constructs an object of a class."""
    name = getattr(owner.node, "name", "")
    constructs = owner.method_of is not None and name == "__init__"
    return frozenset({getattr(owner.method_of.node, "name", "") if constructs and owner.method_of else name})


def _whole(values: Values) -> Values:
    """What `int(...)` makes of numbers."""
    if values is None:
        return None
    found: list[Value] = []
    for value in values:
        if not isinstance(value, Number):
            return None
        number = None if value.value is None else converted("int", value.value)
        if number is NOT_LITERAL or isinstance(number, tuple):
            return None
        found.append(replace(value, value=number))
    return tuple(found)


def _function_of(scope: Scope) -> Scope:
    """The function, class or module that runs the code of a scope; comprehensions run where they stand."""
    while isinstance(scope.node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        assert scope.parent is not None
        scope = scope.parent
    return scope


def _default_expression(function: ast.AST, name: str) -> ast.expr | None:
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    return dict(defaults_of(function)).get(name)
