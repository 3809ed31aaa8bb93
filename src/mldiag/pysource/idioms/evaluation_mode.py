"""Evaluation in the mode of training, and training in the mode of evaluation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.patterns import lazily
from mldiag.pysource.idioms._code import Code, keyword, number
from mldiag.pysource.module import Function

_EVALUATES = lazily(r"(?:^|_)(?:eval(?:uate|uation)?|valid(?:ate|ation)?|val|test|dev)(?:$|_)", re.IGNORECASE)
_HELD_OUT = lazily(
    r"(?:^|_|\b)(?:val|valid|validation|test|dev|held_?out|eval|va|te)(?:$|_|\d|[A-Z])|(?:_|[a-z])(?:val|valid|test|dev|va|te)$"
)
_SAMPLED = lazily(r"mc_?drop|monte_?carlo|uncertain|bayes|stochastic|ensemble", re.IGNORECASE)
_MODES = lazily(r"^(?:eval|inference)_?mode$|^set_(?:eval|train|mode)|^training$|^train_mode$|^freeze", re.IGNORECASE)
_NOISY = frozenset({
    "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout", "BatchNorm1d",
    "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "LazyBatchNorm1d", "LazyBatchNorm2d",
})  # fmt: skip
_WITH_DROPOUT = frozenset({"LSTM", "GRU", "RNN", "MultiheadAttention"})
_WITH_OWN_DROPOUT = frozenset({"TransformerEncoderLayer", "TransformerDecoderLayer", "Transformer"})
_KERAS_NOISY = frozenset({"Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "BatchNormalization",
                          "GaussianDropout", "AlphaDropout"})  # fmt: skip
_KERAS = frozenset({"keras", "tensorflow", "tf_keras"})


def evaluation_mode(code: Code) -> Iterator[Idiom]:
    """An evaluation that leaves dropout and batch statistics on, or that never switches them on again.

    Of PyTorch, only where this file has such a layer, trains the model and evaluates it, and no line of the file
    switches the mode (`eval()`, or `train()` after it); of Keras, a call with `training=True` in an evaluation.
    """
    if code.imports("torch"):
        yield from _of_torch(code)
    if code.imports(*_KERAS):
        yield from _of_keras(code)


def _of_torch(code: Code) -> Iterator[Idiom]:
    layer = _noisy_layer(code)
    backward = next(code.calls("backward"), None)
    if layer is None or backward is None or any(_SAMPLED.search(n) for n in code.module.names):
        return
    if any(_is_lightning(c) for classes in code.classes.values() for c in classes):
        return
    models = {code.receiver(c) for c in code.calls("parameters", "named_parameters", "train", "state_dict")} - {""}
    models |= {"model", "net", "network", "self.model", "self.net"}
    to_eval = [c for c in code.calls("eval") if isinstance(c.func, ast.Attribute) and not (c.args or c.keywords)]
    given = [
        (c, [*c.args, *(k.value for k in c.keywords)]) for c in code.calls("train") if isinstance(c.func, ast.Attribute)
    ]
    to_train = [c for c, values in given if len(values) < 2]
    told = [c for c, values in given if len(values) == 1 and not _is_true(values[0])]
    if any(_MODES.search(n) for n in code.module.names) or any(code.hidden(c, *models) for c, _ in code.module.calls):
        return
    if not to_eval and not told:
        for region in _evaluations(code):
            called = next((c for c in _model_calls(code, region, models)), None)
            if called is not None:
                yield code.idiom(
                    "no_eval_mode", region if isinstance(region, ast.stmt) else called, called, layer,
                    model=code.module.dotted(called.func), layer=_name(code, layer),
                )  # fmt: skip
                return
    elif not to_train:
        yield from _left_in_eval(code, to_eval, layer)


def _evaluates(code: Code, function: Function) -> bool:
    """Whether a function evaluates a model by its name; one that tests the program itself takes nothing."""
    takes = [a.arg for a in function.args.args if a.arg not in ("self", "cls")]
    return _EVALUATES.search(function.name) is not None and (bool(takes) or not function.name.startswith("test_"))


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _noisy_layer(code: Code) -> ast.Call | None:
    """A layer of this file's models that does something else in training."""
    for call, _ in code.module.calls:
        name = code.name_of(call)
        last = name.rpartition(".")[2]
        if not name.startswith("torch.nn."):
            continue
        rate = (
            keyword(call, "p") or keyword(call, "dropout") or (call.args[0] if call.args and "Drop" in last else None)
        )
        if last in _NOISY and not ("Drop" in last and number(rate) == 0):
            return call
        if last in _WITH_DROPOUT and keyword(call, "dropout") is not None and number(keyword(call, "dropout")) != 0:
            return call
        if last in _WITH_OWN_DROPOUT and number(keyword(call, "dropout")) != 0:
            return call
    return None


def _is_lightning(node: ast.ClassDef) -> bool:
    return any("Lightning" in (b.attr if isinstance(b, ast.Attribute) else getattr(b, "id", "")) for b in node.bases)


def _evaluations(code: Code) -> Iterator[ast.AST]:
    """Functions named so that run no backward pass, and blocks without gradients over data that is held out."""
    for functions in code.functions.values():
        for function in functions:
            if _evaluates(code, function) and not {"backward", "add_argument"} & code.names(function):
                yield function
    for node in ast.walk(code.module.tree):
        if not isinstance(node, ast.With):
            continue
        opened = [code.module.dotted(i.context_expr).rstrip("()").rpartition(".")[2] for i in node.items]
        without = "no_grad" in opened or "inference_mode" in opened
        if without:
            for inner in ast.walk(node):
                data = inner.iter if isinstance(inner, ast.For) else None
                if isinstance(inner, ast.Call):
                    data = inner.args[0] if inner.args else None
                if data is not None and any(isinstance(n, ast.Name) and _HELD_OUT.search(n.id) for n in ast.walk(data)):
                    yield node
                    break


def _model_calls(code: Code, region: ast.AST, models: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(region):
        if isinstance(node, ast.Call) and node.args and code.module.dotted(node.func) in models:
            yield node


def _left_in_eval(code: Code, to_eval: list[ast.Call], layer: ast.Call) -> Iterator[Idiom]:
    """`eval()` in every pass of a loop that goes on training the same model, and no `train()` anywhere."""
    for call in to_eval:
        name = code.receiver(call)
        function = code.function(call)
        sites = [(call, name)]
        if function is not None and name in code.module.scopes[function].params and not code.loops(call):
            sites = [
                (c, code.module.dotted(c.args[position]))
                for c in code.calls(function.name)
                for position, a in enumerate([*function.args.posonlyargs, *function.args.args])
                if a.arg == name and position < len(c.args)
            ]
        for site, model in sites:
            loops = code.loops(site)
            trained = loops and any(
                code.within(b, loops[-1]) and _trains(code, loops[-1], model) for b in code.calls("backward")
            )
            if trained and _is_evaluation(code, call, function):
                yield code.idiom("left_in_eval_mode", call, site, layer, model=model, layer=_name(code, layer),
                                 loop=loops[-1].lineno)  # fmt: skip
                return


def _trains(code: Code, loop: ast.AST, model: str) -> bool:
    """Whether the loop itself runs the model for the backward pass: at least one call of it outside of `no_grad`."""
    for node in ast.walk(loop):
        if isinstance(node, ast.Call) and node.args and code.module.dotted(node.func) == model:
            around = [n for n in code.outward(node) if isinstance(n, ast.With)]
            if not any("no_grad" in code.module.dotted(i.context_expr) for w in around for i in w.items):
                return True
    return False


def _is_evaluation(code: Code, call: ast.Call, function: Function | None) -> bool:
    if function is not None and _EVALUATES.search(function.name):
        return True
    statement = code.statement(call)
    parent = code.parents.get(statement)
    block: list[ast.stmt] = getattr(parent, "body", [])
    later = block[block.index(statement) + 1 :] if statement in block else []
    return bool(later) and any(
        isinstance(n, ast.With) and any("no_grad" in code.module.dotted(i.context_expr) for i in n.items)
        for n in later[:3]
    )


def _of_keras(code: Code) -> Iterator[Idiom]:
    layer = next((c for c, _ in code.module.calls if code.name_of(c).partition(".")[0] in _KERAS
                  and code.name_of(c).rpartition(".")[2] in _KERAS_NOISY), None)  # fmt: skip
    trains = any(code.calls("GradientTape"))
    if layer is None or not trains or any(_SAMPLED.search(n) for n in code.module.names):
        return
    for functions in code.functions.values():
        for function in functions:
            if not _evaluates(code, function) or {"GradientTape", "gradient"} & code.names(function):
                continue
            for node in ast.walk(function):
                training = keyword(node, "training") if isinstance(node, ast.Call) else None
                if _is_true(training) and isinstance(node, ast.Call) and not isinstance(node.func, ast.Call):
                    yield code.idiom("no_eval_mode", function, node, layer, model=code.module.dotted(node.func),
                                     layer=_name(code, layer))  # fmt: skip
                    return


def _name(code: Code, call: ast.Call) -> str:
    return code.module.dotted(call.func)
