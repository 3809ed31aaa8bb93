"""The dimensions that the source gives its model: rows of the position table, vocabulary, width."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from mldiag.artifacts import Build, Option
from mldiag.patterns import lazily
from mldiag.pysource.module import Module, Scope
from mldiag.pysource.options import keyword
from mldiag.pysource.values import Tracer

_CANDIDATE_LIMIT = 200  # tables of one file; real models have a handful

_EMBEDDINGS = frozenset({"Embedding", "Embed"})
_ROWS = ("num_embeddings", "input_dim")
_WIDTHS = ("embedding_dim", "output_dim", "features")
_WORDS = lazily(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_POSITION = frozenset({
    "pos", "position", "positions", "positional", "wpe", "posemb", "posembed", "posenc", "posembedding",
})  # fmt: skip
# A table of relative positions, of parts of speech or of positive examples is no table of positions.
_NOT_POSITION = frozenset({
    "rel", "relative", "tag", "tags", "item", "items", "neg", "negative", "bias", "speech", "postag", "score", "weight",
    "sample", "samples",
})  # fmt: skip
_TOKEN = frozenset({"tok", "token", "tokens", "wte", "word", "words", "vocab", "vocabulary", "subword"})
_EMBED = frozenset({"embed", "embedding", "embeddings", "emb", "embedder", "embeds"})
_PLAIN = _EMBED | {"layer", "input", "char", "chars", "self", "encoder", "table", "x"}
_NOT_TOKEN = frozenset({
    "type", "types", "segment", "seg", "user", "item", "time", "label", "class", "rel", "relative", "cat", "tag",
    "tags",
})  # fmt: skip

# transformers' configuration classes, which have the names of their checkpoints' configurations.
_CONFIG_KEYS = {
    "n_positions": "max_positions", "max_position_embeddings": "max_positions", "n_ctx": "max_positions",
    "vocab_size": "vocab_size", "n_embd": "d_model", "hidden_size": "d_model", "d_model": "d_model",
}  # fmt: skip
_FILLED = frozenset({
    "zeros", "ones", "empty", "randn", "rand", "normal", "uniform", "truncated_normal", "random_normal",
})  # fmt: skip


def builds(module: Module, options: Iterable[Option]) -> tuple[Build, ...]:
    """The dimensions that follow from the source alone, each with the place of its number.

    A table of positions or tokens is known by its name: what it is assigned to, its `name=`, its keyword or key. Code
    that the file does not run itself counts only where no other gives the same dimension and all of it agrees.
    """
    tracer = Tracer(module, options)
    called: list[Build] = []
    uncalled: list[Build] = []
    for count, (name, node, call, scope) in enumerate(_dimensions(module)):
        if count >= _CANDIDATE_LIMIT:
            break
        number = tracer.number(node, scope)
        if number is None or isinstance(number.value, bool | str | float) or (number.value or 1) < 1:
            continue
        if number.value is None and number.option is None:
            continue
        at = module.line(call)
        found = Build(name, number.value, number.source, at, number.option, number.uses_default, number.through)
        (called if tracer.is_called(scope) else uncalled).append(found)
    known = {b.name for b in called}
    for name in {b.name for b in uncalled} - known:
        same = [b for b in uncalled if b.name == name]
        if len({(b.value, b.option, b.uses_default) for b in same}) == 1:
            called += same
    return tuple(sorted(dict.fromkeys(called), key=lambda b: (b.at.line or 0, b.at.column or 0, b.name)))


def _dimensions(module: Module) -> Iterator[tuple[str, ast.expr, ast.Call, Scope]]:
    """Setting, expression of the size, the call that builds with it, and where."""
    for call, scope in module.calls:
        last = module.last_name(call)
        if last in _EMBEDDINGS:
            rows, width = _argument(call, 0, _ROWS), _argument(call, 1, _WIDTHS)
            kind = _kind(_names(module, call))
            if rows is not None and kind is not None and not (kind == "max_positions" and _counts_tags(rows)):
                yield kind, rows, call, scope
                if width is not None and kind == "vocab_size":
                    yield "d_model", width, call, scope
        elif last in ("Parameter", "Variable", "add_weight", "param", "get_variable"):
            shape = _shape(module, call)
            if shape is not None and _kind(_names(module, call)) == "max_positions":
                yield "max_positions", shape[-2], call, scope
        elif last.endswith("Config") and module.resolved_call(call).startswith("transformers."):
            for given in call.keywords:
                if given.arg in _CONFIG_KEYS:
                    yield _CONFIG_KEYS[given.arg], given.value, call, scope


def _counts_tags(rows: ast.expr) -> bool:
    """`nn.Embedding(num_tags, d)`: parts of speech are called `pos` as well."""
    names = (getattr(n, "id", "") or getattr(n, "attr", "") for n in ast.walk(rows))
    return any("tag" in name.lower() for name in names)


def _argument(call: ast.Call, index: int, names: Iterable[str]) -> ast.expr | None:
    for name in names:
        given = keyword(call, name)
        if given is not None:
            return given
    if any(isinstance(a, ast.Starred) for a in call.args[: index + 1]):
        return None
    return call.args[index] if index < len(call.args) else None


def _kind(names: Iterable[str]) -> str | None:
    """What a table of these names holds: positions, tokens, or neither as far as names tell."""
    for name in names:
        words = {w.lower() for w in _WORDS.findall(name)}
        if words & _POSITION and not words & _NOT_POSITION:
            return "max_positions"
        if words & _NOT_TOKEN:
            return None
        if words & _TOKEN or (words & _EMBED and words <= _PLAIN):
            return "vocab_size"
    return None


def _names(module: Module, call: ast.Call) -> list[str]:
    """What a layer is called: its `name=`, then what it is assigned to or stands under."""
    told = (keyword(call, "name"), *call.args[:1])
    names = [t.value for t in told if isinstance(t, ast.Constant) and isinstance(t.value, str)]
    applied: list[str] = []
    node: ast.AST = call
    parent = module.parents.get(node)
    for _ in range(6):
        if isinstance(parent, ast.keyword):
            names.append(parent.arg or "")
            break
        if isinstance(parent, ast.Dict) and node in parent.values:
            key = parent.keys[parent.values.index(node)]
            names.append(str(key.value) if isinstance(key, ast.Constant) else "")
            break
        if isinstance(parent, ast.Assign | ast.AnnAssign):
            names += _target_names(module, parent, node)
            break
        if isinstance(parent, ast.Tuple) and isinstance(module.parents.get(parent), ast.Assign):
            names += _target_names(module, module.parents[parent], node)
            break
        if isinstance(parent, ast.Call):
            if node is parent.func:
                # Called where it is made: `Embedding(n, d)(positions)`.
                applied += [module.dotted(a).rsplit(".", 1)[-1] for a in parent.args]
            elif module.last_name(parent) in ("add_module", "setattr", "register_parameter"):
                names += [str(a.value) for a in parent.args if isinstance(a, ast.Constant)]
                break
            elif module.last_name(parent) in ("Sequential", "ModuleList"):
                break
        elif not isinstance(parent, ast.Attribute):
            break
        node, parent = parent, module.parents.get(parent)
    return [n for n in (*names, *applied) if n]


def _target_names(module: Module, statement: ast.AST, node: ast.AST) -> list[str]:
    """The names that an assignment gives to `node`, which is its value or an element of it."""
    assert isinstance(statement, ast.Assign | ast.AnnAssign)
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    found = []
    for target in targets:
        value: ast.AST | None = statement.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and node in value.elts:
            index = value.elts.index(node)
            element = target.elts[index] if len(target.elts) == len(value.elts) else None
        else:
            element = target
        if isinstance(element, ast.Subscript) and isinstance(element.slice, ast.Constant):
            found.append(str(element.slice.value))
        elif element is not None:
            found.append(module.dotted(element).rsplit(".", 1)[-1])
    return found


def _shape(module: Module, call: ast.Call) -> list[ast.expr] | None:
    """The shape of a weight of two dimensions, or of three with a leading 1."""
    given = keyword(call, "shape")
    nodes: list[ast.expr] = [given] if given is not None else list(call.args)
    for node in nodes:
        if isinstance(node, ast.BinOp):
            node = node.left if isinstance(node.left, ast.Call) else node.right
        if isinstance(node, ast.Call):
            if module.last_name(node) not in _FILLED:
                continue
            shape = keyword(node, "shape") or keyword(node, "size")
            dimensions = [shape] if shape is not None else node.args
            node = dimensions[0] if len(dimensions) == 1 else ast.Tuple(list(dimensions), ast.Load())
        if isinstance(node, ast.Tuple | ast.List) and not any(isinstance(e, ast.Starred) for e in node.elts):
            leading = node.elts[0] if node.elts else None
            if len(node.elts) == 2 or (
                len(node.elts) == 3 and isinstance(leading, ast.Constant) and leading.value == 1
            ):
                return node.elts
    return None
