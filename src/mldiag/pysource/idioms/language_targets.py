"""Targets of a language model that are not the next token, and predictions read at padding."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.pysource.idioms._code import Code, keyword

_CAUSAL = frozenset({"is_causal", "tril", "triu", "triu_", "tril_", "generate_square_subsequent_mask", "causal_mask",
                     "attn_mask_causal"})  # fmt: skip
_SHIFTS = frozenset({"roll", "pad", "shift_right", "shift_tokens_right", "_shift_right", "bos_token_id", "bos",
                     "bos_id", "sos", "sos_id", "start_token", "shift"})  # fmt: skip
_RESHAPES = frozenset({"view", "reshape", "flatten", "contiguous", "transpose", "permute", "long", "to", "float",
                       "squeeze", "cuda"})  # fmt: skip


def language_targets(code: Code) -> Iterator[Idiom]:
    """A causal model whose targets are its own inputs, or are shifted by hand though the model shifts them itself."""
    if not code.imports("torch"):
        return
    yield from _unshifted(code)
    yield from _shifted_twice(code)
    yield from _read_at_padding(code)


def _unshifted(code: Code) -> Iterator[Idiom]:
    if not _CAUSAL & (code.module.names | {k.arg for c, _ in code.module.calls for k in c.keywords if k.arg}):
        return
    if _SHIFTS & code.module.names or code.imports("transformers"):
        return
    for call in code.calls("cross_entropy"):
        if code.name_of(call) != "torch.nn.functional.cross_entropy" or len(call.args) < 2:
            continue
        target = _whole_name(code, call.args[1])
        model_call = _made_by(code, call.args[0])
        if target is None or model_call is None or not model_call.args:
            continue
        read = model_call.args[0]
        if not isinstance(read, ast.Name) or read.id != target or code.model_class(model_call.func) is None:
            continue
        if code.scope(read) is code.scope(call) and not _sliced(code, code.model_class(model_call.func)):
            yield code.idiom("unshifted_targets", call, model_call, target=target)
            return


def _whole_name(code: Code, node: ast.expr) -> str | None:
    """The name of a tensor that is only reshaped, not cut."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _RESHAPES:
        node = node.func.value
    return node.id if isinstance(node, ast.Name) else None


def _made_by(code: Code, node: ast.expr) -> ast.Call | None:
    """The call of a model whose whole output an expression is."""
    for _ in range(8):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _RESHAPES:
            node = node.func.value
        elif isinstance(node, ast.Name):
            values = code.named(node.id, node)
            if len(values) != 1 or values[0][1] not in (None, 0):
                return None
            node = values[0][0]
        else:
            break
    return node if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute) else None


def _sliced(code: Code, model: ast.ClassDef | None) -> bool:
    """Whether the model itself may cut or move its input."""
    if model is None:
        return True
    for node in ast.walk(model):
        if isinstance(node, ast.FunctionDef) and node.name == "forward":
            return any(
                (isinstance(n, ast.Slice) and (n.lower is not None or n.upper is not None) and _ends(n))
                or (isinstance(n, ast.Attribute) and n.attr in ("cat", "concat", "roll", "pad"))
                for n in ast.walk(node)
            )
    return True


def _ends(node: ast.Slice) -> bool:
    """`[:-1]` or `[1:]`."""
    lower, upper = node.lower, node.upper
    return (isinstance(lower, ast.Constant) and lower.value == 1) or isinstance(upper, ast.UnaryOp)


def _shifted_twice(code: Code) -> Iterator[Idiom]:
    """`model(input_ids=x[:, :-1], labels=x[:, 1:])` of a causal model of transformers, which shifts labels itself."""
    for call, _ in code.module.calls:
        labels = keyword(call, "labels")
        read = keyword(call, "input_ids") or (call.args[0] if call.args else None)
        if labels is None or read is None or not isinstance(call.func, ast.Name | ast.Attribute):
            continue
        if _cut(code, labels) != "first" or _cut(code, read) != "last":
            continue
        ends = code.ends(call.func)
        causal = ends and all(
            isinstance(e, ast.Call)
            and code.name_of(e).startswith("transformers.")
            and any(w in code.name_of(e) for w in ("ForCausalLM", "LMHeadModel"))
            for e, _ in ends
        )
        if causal:
            yield code.idiom("targets_shifted_twice", call, labels)
            return


def _cut(code: Code, node: ast.expr) -> str | None:
    """Which end of a sequence is cut off: the first token (`[:, 1:]`) or the last (`[:, :-1]`)."""
    for _ in range(6):
        if isinstance(node, ast.Name):
            values = code.named(node.id, node)
            if len(values) != 1 or values[0][1] is not None:
                return None
            node = values[0][0]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in (*_RESHAPES, "clone")
        ):
            node = node.func.value
        else:
            break
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple) or not node.slice.elts:
        return None
    last = node.slice.elts[-1]
    if not isinstance(last, ast.Slice) or last.step is not None:
        return None
    lower = last.lower.value if isinstance(last.lower, ast.Constant) else None
    if lower == 1 and last.upper is None:
        return "first"
    upper = last.upper
    if last.lower is None and isinstance(upper, ast.UnaryOp) and isinstance(upper.operand, ast.Constant):
        return "last" if upper.operand.value == 1 and isinstance(upper.op, ast.USub) else None
    return None


def _read_at_padding(code: Code) -> Iterator[Idiom]:
    """`logits[:, -1]` of a batch that a tokenizer filled up on the right."""
    right = [
        s for s in code.module.stores.get("padding_side", ())
        if isinstance(s.value, ast.Constant) and s.value.value == "right"
    ]  # fmt: skip
    given = [
        c for c, _ in code.module.calls
        if isinstance(side := keyword(c, "padding_side"), ast.Constant) and side.value == "right"
    ]  # fmt: skip
    other = len(code.module.stores.get("padding_side", ())) > len(right) or any(
        keyword(c, "padding_side") is not None and c not in given for c, _ in code.module.calls
    )
    padded = [c for c, _ in code.module.calls if (p := keyword(c, "padding")) is not None and _on(p)]
    if other or not (right or given) or not padded:
        return
    for node in ast.walk(code.module.tree):
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple) or len(node.slice.elts) < 2:
            continue
        index = node.slice.elts[1]
        minus_one = (
            isinstance(index, ast.UnaryOp) and isinstance(index.operand, ast.Constant) and index.operand.value == 1
        )
        if minus_one and code.module.dotted(node.value).rpartition(".")[2].endswith("logits"):
            where = right[0].base if right else given[0]
            yield code.idiom("read_at_padding", node, where, padded[0], tensor=code.module.dotted(node.value))
            return


def _on(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in (True, "longest", "max_length")
