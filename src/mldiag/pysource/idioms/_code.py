"""What the idioms ask of a file: loops, what they reach, and what an expression may stand for."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterable, Iterator

from mldiag.artifacts import Idiom, Source
from mldiag.facts.training_source import LIBRARIES
from mldiag.patterns import lazily
from mldiag.pysource.module import Function, Module, Scope
from mldiag.pysource.options import keyword

LOOPS = (ast.For, ast.AsyncFor, ast.While)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEPTH_LIMIT = 24  # steps from an expression to what it stands for
_SITE_LIMIT = 12  # calls of one function that are looked at
_STEPS_LIMIT = 48  # backward passes, and steps, of one file that are looked at: each is held against each
_STEPS = frozenset({"backward", "manual_backward", "step", "optimizer_step", "zero_grad", "parameters"})
_BINDING_LIMIT = 100  # assignments to one name
_STEP_LIMIT = 20_000  # expressions looked at in one file

_OPTIMIZER = lazily(r"(?:^|[._])(?:\w*opt(?:im(?:i[sz]er)?)?(?:s|_?\d|_?[a-zA-Z])?)(?:\[\])?$", re.IGNORECASE)
_SAME_TENSOR = frozenset({
    "view", "reshape", "squeeze", "unsqueeze", "permute", "transpose", "contiguous", "float", "double", "half", "to",
    "flatten", "type", "clone", "cuda", "cpu", "type_as", "bfloat16", "t", "view_as", "requires_grad_", "swapaxes",
})  # fmt: skip
_SAME_MODEL = frozenset({
    "DataParallel", "DistributedDataParallel", "DDP", "compile", "FullyShardedDataParallel", "FSDP",
    "convert_sync_batchnorm",
})  # fmt: skip
_HARMLESS = frozenset({
    "step", "unscale_", "optimizer_step", "scale", "update", "manual_backward", "backward", "log", "info", "debug",
    "save", "watch", "append", "prepare", "clip_gradients",
})  # fmt: skip

End = tuple[ast.expr, int | None]
"""An expression that something stands for, and which element of it, where it is unpacked."""


class Code:
    """A parsed file with the parents of all its nodes.

    Attributes:
        functions: every function and method by its name.
        classes: every class by its name.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.parents: dict[ast.AST, ast.AST] = {}
        self.functions: dict[str, list[Function]] = {}
        self.classes: dict[str, list[ast.ClassDef]] = {}
        self._steps = 0
        for node in ast.walk(module.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, _FUNCTIONS):
                self.functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.ClassDef):
                self.classes.setdefault(node.name, []).append(node)

    def idiom(self, name: str, node: ast.AST, *also: ast.AST, **details: str | int | float) -> Idiom:
        """What was seen at a node, with the other places that show it."""
        return Idiom(name, self.module.line(node), tuple(details.items()), tuple(self.module.line(n) for n in also))

    def imports(self, *roots: str) -> bool:
        return any(name.partition(".")[0] in roots for name in self.module.imports)

    # Where a node stands

    def outward(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, the innermost first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function(self, node: ast.AST) -> Function | None:
        return next((n for n in self.outward(node) if isinstance(n, _FUNCTIONS)), None)

    def owner(self, node: ast.AST) -> ast.ClassDef | None:
        """The class whose body a node stands in."""
        return next((n for n in self.outward(node) if isinstance(n, ast.ClassDef)), None)

    def scope(self, node: ast.AST) -> Scope:
        around = (node, *self.outward(node))
        return next((self.module.scopes[n] for n in around if n in self.module.scopes), self.module.scope)

    def statement(self, node: ast.AST) -> ast.AST:
        """The statement that a node is part of."""
        return next((n for n in (node, *self.outward(node)) if isinstance(n, ast.stmt)), node)

    def within(self, node: ast.AST, region: ast.AST) -> bool:
        return node is region or any(n is region for n in self.outward(node))

    def loops(self, node: ast.AST) -> list[ast.For | ast.AsyncFor | ast.While]:
        """The loops of the same function that run a node again and again, the innermost first."""
        found: list[ast.For | ast.AsyncFor | ast.While] = []
        inner = node
        for outer in self.outward(node):
            if isinstance(outer, (*_FUNCTIONS, ast.Lambda, ast.ClassDef)):
                break
            if isinstance(outer, LOOPS) and any(inner is s for s in outer.body):
                found.append(outer)
            inner = outer
        return found

    def before(self, first: ast.AST, second: ast.AST) -> bool:
        """Whether one statement always runs before the other, in the same pass: it stands in a block around it."""
        first, block = self.statement(first), None
        parent = self.parents.get(first)
        if parent is None or _position(first) >= _position(second):
            return False
        for name in parent._fields:
            value = getattr(parent, name, None)
            if isinstance(value, list) and any(v is first for v in value):
                block = value
        around = [second, *self.outward(second)]
        return block is not None and any(n is s for s in block for n in around)

    def reached(self, *regions: ast.AST) -> Iterator[ast.AST]:
        """Every node of the regions, and of the functions of this file that are named in them, under any object."""
        todo, known = list(regions), set[ast.AST](regions)
        while todo:
            for node in ast.walk(todo.pop()):
                yield node
                name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
                for function in self.functions.get(name, ()):
                    if function not in known:
                        known.add(function)
                        todo.append(function)

    def names(self, *regions: ast.AST) -> set[str]:
        """Every name and attribute that the regions reach."""
        return {
            n.id if isinstance(n, ast.Name) else n.attr
            for n in self.reached(*regions)
            if isinstance(n, ast.Name | ast.Attribute)
        }

    def hidden(self, call: ast.Call, *things: str) -> bool:
        """Whether a call may do something to one of the things that this file does not show."""
        dotted = self.module.dotted(call.func)
        root, _, rest = dotted.partition(".")
        last = dotted.rpartition(".")[2].rstrip("()[]")
        plain = root.rstrip("()[]")
        if last in self.functions or last in self.classes or (not rest and hasattr(builtins, plain)):
            return False
        if self._is_library(plain) or last in _HARMLESS:
            return False
        if plain == "self" and rest and "." not in rest:
            owner = self.owner(call)
            if owner is not None and bool(owner.bases) and not self._is_value(owner, rest):
                return True
        made = [v for v, _ in self.named(plain if plain != "self" else ".".join(dotted.split(".")[:2]), call)]
        if made and all(isinstance(v, ast.Call) and self._is_library(self.module.dotted(v.func)) for v in made):
            return False
        given = [*call.args, *(k.value for k in call.keywords)]
        return any(self._hands_on(a, things) for a in given)

    def _is_library(self, dotted: str) -> bool:
        name = self.module.resolved(dotted).partition(".")[0].rstrip("()[]")
        return dotted.partition(".")[0].rstrip("()[]") in self.module.aliases and (
            name in LIBRARIES or name in sys.stdlib_module_names
        )

    def _hands_on(self, given: ast.expr, things: tuple[str, ...]) -> bool:
        """Whether something is given itself, or in a list; not only what comes of it."""
        if isinstance(given, ast.Starred):
            return self._hands_on(given.value, things)
        if isinstance(given, ast.Tuple | ast.List):
            return any(self._hands_on(e, things) for e in given.elts)
        return isinstance(given, ast.Name | ast.Attribute) and self.module.dotted(given) in things

    def _is_value(self, owner: ast.ClassDef, name: str) -> bool:
        """Whether `self.name` is something that the class assigns, and so a thing and no inherited method."""
        return any(self.within(s.base, owner) for s in self.module.stores.get(name, ()))

    def mentions(self, node: ast.AST, *dotted: str) -> bool:
        return any(isinstance(n, ast.Name | ast.Attribute) and self.module.dotted(n) in dotted for n in ast.walk(node))

    # Calls

    def calls(self, *last_names: str) -> Iterator[ast.Call]:
        """Calls whose last part is one of the names as written, in the order of the source."""
        found = [c for name in last_names for c, _ in self.module.calls_by_name.get(name, ())]
        found.sort(key=_position)
        return iter(found[:_STEPS_LIMIT] if _STEPS.issuperset(last_names) else found)

    def receiver(self, call: ast.Call) -> str:
        """What a method is called on, dotted: `self.model` in `self.model.train()`."""
        return self.module.dotted(call.func.value) if isinstance(call.func, ast.Attribute) else ""

    def name_of(self, call: ast.Call) -> str:
        """The dotted name of what is called, imports resolved."""
        return self.module.resolved_call(call)

    def is_of(self, call: ast.AST, library: str, *names: str) -> bool:
        """A call of a library's class or function, however it was imported."""
        if not isinstance(call, ast.Call):
            return False
        root, _, rest = self.name_of(call).partition(".")
        return root == library and rest.rpartition(".")[2] in names

    def optimizer_steps(self) -> list[tuple[ast.Call, str]]:
        """`optimizer.step()` and `scaler.step(optimizer)`, with the name of the optimizer."""
        found = []
        for call in self.calls("step", "optimizer_step"):
            receiver, first = self.receiver(call), self.module.dotted(call.args[0]) if call.args else ""
            if self.is_optimizer(receiver, call):
                found.append((call, receiver))
            elif first and self.is_optimizer(first, call):
                found.append((call, first))
        return found

    def is_optimizer(self, dotted: str, at: ast.AST) -> bool:
        """Whether something with this name steps as PyTorch's optimizers do."""
        if not dotted or "sched" in dotted.lower():
            return False
        values = self.named(dotted, at)
        if values:
            made = [v for v, _ in values if isinstance(v, ast.Call)]
            if any(self.name_of(v).startswith("torch.optim.") for v in made):
                return not any(".lr_scheduler." in self.name_of(v) for v in made)
            unseen = (self.name_of(v).partition(".")[0].rstrip("()[]") for v in made)
            if any(self.is_own(root) for root in unseen):
                return False
        return _OPTIMIZER.search(dotted) is not None

    def is_own(self, dotted: str) -> bool:
        """Whether an imported name comes from a module of the program, which is not seen here."""
        root = dotted.partition(".")[0].rstrip("()[]")
        module = self.module.aliases.get(root, root).partition(".")[0]
        named = {name.partition(".")[0] for name in self.module.imports}
        return module in named and module not in LIBRARIES | sys.stdlib_module_names

    # What an expression stands for

    def named(self, dotted: str, at: ast.AST) -> list[End]:
        """Everything that a name or `self.attribute` is bound to in this file, as far as it shows."""
        first, _, rest = dotted.partition(".")
        if not rest:
            found = self.module.binding(first, self.scope(at))
            bound = found[1][:_BINDING_LIMIT] if found is not None else []
            return [(b.value, b.index) for b in bound if b.value is not None]
        if "." in rest or first != "self":
            return []
        owner = self.owner(at)
        stores = self.module.stores.get(rest, ())
        return [
            (s.value, None) for s in stores if s.value is not None and owner is not None and self.within(s.base, owner)
        ]

    def ends(self, node: ast.expr, index: int | None = None, depth: int = 0) -> list[End] | None:
        """What a tensor or an object comes from: calls and literals. None where that is not seen.

        Names, parameters (by every call of their function in the file), attributes of `self`, reshapes and wrappers of
        a model are followed; so are calls of this file's functions and of models, by what they return.
        """
        self._steps += 1
        if depth > _DEPTH_LIMIT or self._steps > _STEP_LIMIT:
            return None
        depth += 1
        if isinstance(node, ast.Name):
            return self._name_ends(node, index, depth)
        if isinstance(node, ast.NamedExpr):
            return self.ends(node.value, index, depth)
        if isinstance(node, ast.IfExp):
            return self._all([(node.body, index), (node.orelse, index)], depth)
        if isinstance(node, ast.Tuple | ast.List) and index is not None:
            return self.ends(node.elts[index], None, depth) if index < len(node.elts) else None
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple | ast.Slice) and index is None:
            return self.ends(node.value, None, depth)
        if isinstance(node, ast.Attribute):
            return self._attribute_ends(node, index, depth)
        if isinstance(node, ast.Call):
            return self._call_ends(node, index, depth)
        return [(node, index)]

    def _all(self, ends: Iterable[End], depth: int) -> list[End] | None:
        found: list[End] = []
        for node, index in ends:
            more = self.ends(node, index, depth)
            if more is None:
                return None
            found += more
        return found or None

    def _name_ends(self, node: ast.Name, index: int | None, depth: int) -> list[End] | None:
        scope = self.scope(node)
        found = self.module.binding(node.id, scope)
        if found is None:
            return None
        owner, bindings = found
        if len(bindings) > _BINDING_LIMIT:
            return None
        reaching: list[End] = []
        own = sorted((b for b in bindings), key=lambda b: _position(b.node), reverse=True)
        for binding in own:
            if binding.definition is not None:
                return None
            if owner is scope and _position(self.statement(binding.node)) >= _position(self.statement(node)):
                continue
            if binding.value is None or (binding.index is not None and index is not None):
                return None
            reaching.append((binding.value, index if binding.index is None else binding.index))
            if owner is scope and self.before(binding.node, node):
                return self._all(reaching, depth)
        if node.id in owner.params:
            given = self._given(owner.node, node.id)
            if given is None:
                return None
            reaching += [(g, index) for g in given]
        return self._all(reaching, depth)

    def _given(self, function: ast.AST, name: str) -> list[ast.expr] | None:
        """What every call in this file gives for a parameter."""
        if not isinstance(function, _FUNCTIONS):
            return None
        method = isinstance(self.parents.get(function), ast.ClassDef)
        positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        sites = [c for c in self.calls(function.name) if isinstance(c.func, ast.Attribute) == method]
        handed_on = function.name in self.module.uses
        if len(self.functions[function.name]) > 1 or not sites or len(sites) > _SITE_LIMIT or handed_on:
            return None
        found: list[ast.expr] = []
        for call in sites:
            value = keyword(call, name)
            if value is None and name in positional:
                at = positional.index(name) - (method and isinstance(call.func, ast.Attribute))
                if any(isinstance(a, ast.Starred) for a in call.args) or not 0 <= at < len(call.args):
                    return None
                value = call.args[at]
            if value is None:
                return None
            found.append(value)
        return found

    def _attribute_ends(self, node: ast.Attribute, index: int | None, depth: int) -> list[End] | None:
        dotted = self.module.dotted(node)
        if node.attr in ("module", "data", "mT", "T"):
            return self.ends(node.value, index, depth)
        if dotted.startswith("self.") and dotted.count(".") == 1:
            owner = self.owner(node)
            stores = [s for s in self.module.stores.get(node.attr, ()) if owner and self.within(s.base, owner)]
            if not stores or any(s.value is None for s in stores):
                return None
            return self._all([(s.value, index) for s in stores if s.value is not None], depth)
        return [(node, index)] if dotted and dotted.partition(".")[0] in self.module.aliases else None

    def _call_ends(self, node: ast.Call, index: int | None, depth: int) -> list[End] | None:
        func = node.func
        last = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
        full = self.name_of(node)
        library = full.partition(".")[0] in LIBRARIES
        plain = library and "(" not in full and "[" not in full  # no method of what a call gave
        if isinstance(func, ast.Attribute) and last in _SAME_TENSOR and not plain:
            return self.ends(func.value, index, depth)
        if plain and last in (_SAME_TENSOR | _SAME_MODEL) and node.args:
            return self.ends(node.args[0], index, depth)
        if library:
            return [(node, index)]
        function = self.module.definition(func, self.scope(node))
        if function is None and self.module.dotted(func) == f"self.{last}":
            owner = self.owner(node)
            methods = [f for f in self.functions.get(last, ()) if self.parents.get(f) is owner]
            function = methods[0] if len(methods) == 1 else None
        if isinstance(function, _FUNCTIONS):
            return self.returned(function, index, depth)
        if isinstance(function, ast.ClassDef):
            return [(node, index)]
        # A model that is called: what its class returns.
        model = self.model_class(func, depth)
        if model is not None:
            forward = [f for f in model.body if isinstance(f, _FUNCTIONS) and f.name in ("forward", "call")]
            return self.returned(forward[0], index, depth) if len(forward) == 1 else None
        made = self.ends(func, None, depth) if isinstance(func, ast.Name | ast.Attribute | ast.Call) else None
        if not made:
            return [(node, index)] if _is_activation(node) else None
        # `nn.Softmax(dim=1)(x)`, and layers under a name.
        return [(m, None) for m, _ in made]

    def model_class(self, node: ast.expr, depth: int = 0) -> ast.ClassDef | None:
        """The class of this file that an object is an instance of."""
        if isinstance(node, ast.Name) and node.id == "self":
            return self.owner(node)
        if not isinstance(node, ast.Name | ast.Attribute | ast.Call):
            return None
        if self.module.dotted(node) == "self.forward":
            return self.owner(node)
        ends = self.ends(node, None, depth)
        found: set[ast.ClassDef] = set()
        for made, index in ends or ():
            definition = self.module.definition(made.func, self.scope(made)) if isinstance(made, ast.Call) else None
            if not isinstance(definition, ast.ClassDef) or index is not None:
                return None
            found.add(definition)
        return found.pop() if len(found) == 1 else None

    def returned(self, function: Function, index: int | None, depth: int) -> list[End] | None:
        """What a function gives back; what stands behind a return that always runs is left out."""
        if function.decorator_list and not all(
            self.module.dotted(d).rstrip("()").rpartition(".")[2]
            in ("no_grad", "inference_mode", "function", "autocast", "staticmethod", "jit", "compile", "typechecked")
            for d in function.decorator_list
        ):
            return None
        scope = self.module.scopes[function]
        if scope.generator:
            return None
        found: list[End] = []
        for statement in function.body:
            for node in ast.walk(statement):
                if isinstance(node, ast.Return) and self.function(node) is function:
                    if node.value is None:
                        return None
                    found.append((node.value, index))
            if isinstance(statement, ast.Return):
                break
        return self._all(found, depth)

    def source(self, node: ast.AST) -> Source:
        return self.module.line(node)


def _is_activation(call: ast.Call) -> bool:
    """`x.softmax(dim=1)` and `x.sigmoid()`, and no layer of that name."""
    if not isinstance(call.func, ast.Attribute):
        return False
    if call.func.attr == "sigmoid":
        return not call.args and not call.keywords
    given = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "dim")]
    numbers = [isinstance(g.operand if isinstance(g, ast.UnaryOp) else g, ast.Constant) for g in given]
    return call.func.attr == "softmax" and len(call.args) <= 1 and numbers == [True]


def _position(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def position(node: ast.AST) -> tuple[int, int]:
    """Line and column where a node begins."""
    return _position(node)


def number(node: ast.expr | None) -> float | None:
    """A literal number."""
    value = node.value if isinstance(node, ast.Constant) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


__all__ = ["LOOPS", "Code", "End", "keyword", "number", "position"]
