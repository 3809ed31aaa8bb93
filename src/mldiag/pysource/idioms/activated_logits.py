"""Softmax or sigmoid before a loss that applies it itself, and logits for a loss that wants probabilities."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.pysource.idioms._code import Code, keyword

_TORCH_LOSSES = {
    "CrossEntropyLoss": "softmax", "cross_entropy": "softmax",
    "BCEWithLogitsLoss": "sigmoid", "binary_cross_entropy_with_logits": "sigmoid",
}  # fmt: skip
_KERAS_LOSSES = {
    "SparseCategoricalCrossentropy": "softmax", "CategoricalCrossentropy": "softmax", "BinaryCrossentropy": "sigmoid",
    "sparse_categorical_crossentropy": "softmax", "categorical_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
}  # fmt: skip
_KERAS = ("keras", "tensorflow", "tf_keras")
_ACTIVATIONS = {
    "softmax": "softmax", "Softmax": "softmax", "Softmax2d": "softmax", "softmax_": "softmax",
    "sigmoid": "sigmoid", "Sigmoid": "sigmoid", "sigmoid_": "sigmoid",
}  # fmt: skip


def activated_logits(code: Code) -> Iterator[Idiom]:
    """The input of a loss, followed back to the last thing that made it, through the file's functions and models.

    Only where every way there leads through the activation (or, for Keras, through a last layer without one).
    """
    if code.imports("torch"):
        yield from _of_torch(code)
    if code.imports(*_KERAS):
        yield from _of_keras(code)


def _of_torch(code: Code) -> Iterator[Idiom]:
    known: set[str] = set()
    for call, _ in code.module.calls:
        loss, wanted = _torch_loss(code, call)
        given = call.args[0] if call.args else keyword(call, "input")
        if loss is None or not isinstance(given, ast.expr) or isinstance(given, ast.Starred) or wanted in known:
            continue
        ends = code.ends(given)
        found = [_applied(code, e, wanted) if index is None else None for e, index in ends or ()]
        if found and all(f is not None for f in found):
            known.add(wanted)
            yield code.idiom(
                f"{wanted}_before_loss", call, *(f for f in found[:1] if f is not None), loss=loss, activation=wanted
            )


def _torch_loss(code: Code, call: ast.Call) -> tuple[str | None, str]:
    """The name of the loss that a call computes, and the activation that it applies itself."""
    name = code.name_of(call)
    last = name.rpartition(".")[2]
    if name == f"torch.nn.functional.{last}" and last in _TORCH_LOSSES:
        return last, _TORCH_LOSSES[last]
    made = [call.func] if isinstance(call.func, ast.Call) else []
    if not made and isinstance(call.func, ast.Name | ast.Attribute):
        made = [v for v, _ in code.named(code.module.dotted(call.func), call)]  # type: ignore[misc]
    names = {code.name_of(_plain(m)) for m in made if isinstance(m, ast.Call)}
    if made and len(names) == 1 and all(isinstance(m, ast.Call) for m in made):
        full = names.pop()
        last = full.rpartition(".")[2]
        if full == f"torch.nn.{last}" and last in _TORCH_LOSSES:
            return last, _TORCH_LOSSES[last]
    return None, ""


def _plain(call: ast.Call) -> ast.Call:
    """`nn.CrossEntropyLoss()` of `nn.CrossEntropyLoss().to(device)`."""
    while isinstance(call.func, ast.Attribute) and call.func.attr in ("to", "cuda", "float", "cpu"):
        if not isinstance(call.func.value, ast.Call):
            break
        call = call.func.value
    return call


def _applied(code: Code, node: ast.expr, wanted: str) -> ast.AST | None:
    """The activation that made a value; None where something else did."""
    if not isinstance(node, ast.Call):
        return None
    name = code.name_of(node).rstrip("()")
    last = name.rpartition(".")[2]
    if last == "Sequential" and name.startswith("torch.nn."):
        layer = node.args[-1] if node.args else None
        return _applied(code, layer, wanted) if layer is not None else None
    if _ACTIVATIONS.get(last) != wanted:
        return None
    if name.startswith("torch.") or (isinstance(node.func, ast.Attribute) and last == wanted):
        return node
    return None


# Keras


def _of_keras(code: Code) -> Iterator[Idiom]:
    for call in code.calls("compile"):
        if not isinstance(call.func, ast.Attribute):
            continue
        given = keyword(call, "loss")
        last = _last_layer(code, call.func.value)
        loss = _keras_loss(code, given) if given is not None else None
        if last is None or loss is None:
            continue
        name, wanted, from_logits = loss
        layer, activation = last
        if activation == wanted and from_logits:
            yield code.idiom("activation_as_logits", call, layer, loss=name, activation=activation)
        elif activation == "linear" and not from_logits:
            yield code.idiom("logits_as_probabilities", call, layer, loss=name, activation=wanted)


def _keras_loss(code: Code, given: ast.expr) -> tuple[str, str, bool] | None:
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        wanted = _KERAS_LOSSES.get(given.value)
        return (given.value, wanted, False) if wanted else None
    made = given
    if isinstance(given, ast.Name | ast.Attribute):
        values = [v for v, _ in code.named(code.module.dotted(given), given)]
        if len(values) != 1:
            return None
        made = values[0]
    if not isinstance(made, ast.Call) or code.name_of(made).partition(".")[0] not in _KERAS:
        return None
    name = code.name_of(made).rpartition(".")[2]
    logits = keyword(made, "from_logits")
    if name not in _KERAS_LOSSES or not name[0].isupper() or made.args or any(k.arg is None for k in made.keywords):
        return None
    if logits is not None and not (isinstance(logits, ast.Constant) and isinstance(logits.value, bool)):
        return None
    return name, _KERAS_LOSSES[name], bool(isinstance(logits, ast.Constant) and logits.value)


def _last_layer(code: Code, model: ast.expr) -> tuple[ast.Call, str] | None:
    """The last layer of a model and its activation: `softmax`, `sigmoid`, `linear`; None where it is not certain."""
    ends = code.ends(model)
    if not ends or len(ends) != 1 or not isinstance(ends[0][0], ast.Call) or ends[0][1] is not None:
        return None
    made = ends[0][0]
    name = code.name_of(made)
    if name.partition(".")[0] not in _KERAS:
        return None
    match name.rpartition(".")[2]:
        case "Sequential":
            added = _added(code, made)
            if added is None:
                return None
            layers = made.args[0] if made.args else keyword(made, "layers")
            if added:
                return _activation(code, added[-1])
            if isinstance(layers, ast.List) and layers.elts:
                return _activation(code, layers.elts[-1])
        case "Model":
            outputs = keyword(made, "outputs") or (made.args[1] if len(made.args) > 1 else None)
            if outputs is None or isinstance(outputs, ast.List | ast.Dict | ast.Tuple):
                return None
            found = code.ends(outputs)
            if found and len(found) == 1 and found[0][1] is None:
                return _activation(code, found[0][0])
    return None


def _added(code: Code, made: ast.Call) -> list[ast.expr] | None:
    """What `model.add(...)` adds, in the order of the source; None where a branch or a loop decides."""
    statement = code.statement(made)
    target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
    if not isinstance(target, ast.Name):
        return []
    calls = [c for c in code.calls("add") if code.receiver(c) == target.id and code.scope(c) is code.scope(made)]
    if calls and (not calls[-1].args or not code.before(made, calls[-1])):
        return None
    last = code.parents.get(code.statement(calls[-1])) if calls else None
    if calls and last is not code.parents.get(statement):
        return None
    return [c.args[0] for c in calls if c.args]


def _activation(code: Code, node: ast.expr) -> tuple[ast.Call, str] | None:
    if isinstance(node, ast.Name):
        ends = code.ends(node)
        if not ends or len(ends) != 1:
            return None
        node = ends[0][0]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Call):
        node = node.func  # `Dense(10)(x)`
    if not isinstance(node, ast.Call) or code.name_of(node).partition(".")[0] not in _KERAS:
        return None
    last = code.name_of(node).rpartition(".")[2]
    given: ast.expr | None
    if last == "Dense":
        given = keyword(node, "activation") or (node.args[1] if len(node.args) > 1 else None)
        if any(k.arg is None for k in node.keywords) or any(isinstance(a, ast.Starred) for a in node.args):
            return None
        if given is None or (isinstance(given, ast.Constant) and given.value is None):
            return node, "linear"
    elif last == "Activation":
        given = keyword(node, "activation") or (node.args[0] if node.args else None)
    elif last == "Softmax":
        return node, "softmax"
    else:
        return None
    if isinstance(given, ast.Constant) and given.value in ("softmax", "sigmoid", "linear"):
        return node, str(given.value)
    if isinstance(given, ast.Attribute) and given.attr in ("softmax", "sigmoid"):
        return node, given.attr
    return None
