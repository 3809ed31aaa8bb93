"""Ways to cut, split and clean data that hand the model something else than was meant."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import islice

from mldiag.artifacts import Idiom
from mldiag.patterns import lazily
from mldiag.pysource.idioms._algebra import Polynomial, node_name, polynomial
from mldiag.pysource.idioms._code import LOOPS, Code, keyword, number, position

_MOST = 20  # places of one kind that are looked at closely; generated files have thousands
_BATCH = lazily(r"(?i)(^|_)(batch_?size|bs|bsz|batch|b|micro_?batch(_size)?|n_?batch)$")
_LENGTH = lazily(
    r"(?i)(^|_)(seq(uence)?_?(len(gth)?|size)?|block_?size|context(_?(len(gth)?|size))?|ctx(_len)?|n_?ctx|window(_size)?|"
    r"bptt|max_?(seq_?)?len(gth)?|chunk(_size)?|t|length)$"
)
_INDEX = lazily(r"(?i)(^|_)(batch_?(idx|index|id|no|num|i|n)?|idx|index|i|it|iter|step|b|k|n)$")
_COMBINING = frozenset({"combining", "category"})
_NORMAL_FORMS = frozenset({"NFD", "NFKD"})
_THINGS = r"(_?(set|data|dataset|ds|x|y|ids|df|texts?|examples|windows|features|dl|loader|dataloader|iter))?$"
_TRAIN = lazily(rf"(?i)^(self\.)?(x_?|y_?)?(train(ing)?|tr|trn){_THINGS}")
_HELD = lazily(rf"(?i)^(self\.)?(x_?|y_?)?(val(id(ation)?)?|va|dev|test|te|eval){_THINGS}")
_TOKENIZES = lazily(r"(?i)(token|encode)")
_RECORDS = lazily(
    r"(?i)(session|record|event|document|doc|message|msg|entry|entries|turn|example|row|log|sample)s?(\b|_)"
)
_TEXT = lazily(
    r"(?i)^(|s|t|.*(text|sentence|doc|line|corpus|content|document|paragraph|frase|linha|plain|normali[sz]ed|decomposed|stripped).*)$"
)
_CLEANS = lazily(r"(?i)(normali[sz]|clean|preproc|tokeni[sz]e|limpar)")
_LINES = lazily(r"(?i)(^|_)(lines?|linhas?|splitlines|readlines|paragraphs?)(_|$)")


def data_handling(code: Code) -> list[Idiom]:
    """What the file does to its data, in the order of the kinds below."""
    found = (
        *_overlapping_batches(code), *_windows_split_at_random(code), *_validation_from_training(code),
        *_same_batch(code), *_pad_is_end(code), *_newline_separator(code), *_lossy_normalization(code),
        *_unset_seeds(code),
    )  # fmt: skip
    return list(found)


def _overlapping_batches(code: Code) -> Iterator[Idiom]:
    """`start = batch_idx * batch_size * 2; data[start:start + batch_size * seq_len]`.

    The place from one batch to the next, against what is read from there: every factor of the first is in the second,
    which has the length of a sequence besides.
    """
    places = {code.module.dotted(n.target) for n in ast.walk(code.module.tree) if isinstance(n, ast.AugAssign)}
    looked = 0
    for node in ast.walk(code.module.tree):
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice):
            continue
        part = node.slice
        if part.lower is None or part.upper is None or part.step is not None:
            continue
        if isinstance(part.lower, ast.Name | ast.Attribute) and code.module.dotted(part.lower) in places:
            looked += 1
            moved = _moved_on(code, node, part.lower, part.upper) if looked <= _MOST else None
            if moved is not None:
                yield moved
                return
        seen = _strided(code, node, part.lower, part.upper)
        if seen is not None:
            stride, extent, index = seen
            missing = _missing(stride, extent)
            if missing is not None:
                at = _written(code, part.lower)
                yield code.idiom(
                    "overlapping batches", at, node, index=index, stride=str(stride), extent=str(extent),
                    whole=str(_largest(extent)), missing=" ".join(missing[0]), ratio=missing[1], moved=0,
                )  # fmt: skip
                return


def _moved_on(code: Code, node: ast.Subscript, lower: ast.Name | ast.Attribute, upper: ast.expr) -> Idiom | None:
    """`buf = data[self.pos : self.pos + B * T + 1]` and then `self.pos += T`: the place is kept between the batches."""
    place = code.module.dotted(lower)
    function = code.function(node)
    if not place or (isinstance(lower, ast.Attribute) and not place.startswith("self.")):
        return None
    owner = code.owner(node) if place.startswith("self.") else None
    region: ast.AST = owner or function or code.module.tree
    steps: list[tuple[ast.AST, ast.expr]] = []
    for other in ast.walk(region):
        if isinstance(other, ast.AugAssign) and code.module.dotted(other.target) == place:
            if not isinstance(other.op, ast.Add):
                return None
            steps.append((other, other.value))
        elif isinstance(other, ast.Assign | ast.AnnAssign):
            targets = other.targets if isinstance(other, ast.Assign) else [other.target]
            whole = any(code.module.dotted(t) == place for t in targets if isinstance(t, ast.Name | ast.Attribute))
            # It is set back to a fixed place; anything else may be where the next batch begins.
            if whole and not isinstance(other.value, ast.Constant):
                return None
    if len(steps) != 1 or code.function(steps[0][0]) is not function or code.loops(steps[0][0]) != code.loops(node):
        return None
    kept = frozenset({node_name(lower)})
    begin, end, stride = (polynomial(code, n, kept) for n in (lower, upper, steps[0][1]))
    if begin is None or end is None or stride is None:
        return None
    extent = end - begin
    missing = _missing(stride, extent, moved=True) if not kept & (extent.names | stride.names) else None
    if missing is None:
        return None
    return code.idiom(
        "overlapping batches", steps[0][0], node, index=place, stride=str(stride), extent=str(extent),
        whole=str(_largest(extent)), missing=" ".join(missing[0]), ratio=missing[1], moved=1,
    )  # fmt: skip


def _strided(code: Code, node: ast.AST, lower: ast.expr, upper: ast.expr) -> tuple[Polynomial, Polynomial, str] | None:
    """How far apart batches begin, how much one reads, and what counts them."""
    around = {n for n in ast.walk(lower) if isinstance(n, ast.Name)}
    first = polynomial(code, lower)
    if first is None:
        return None
    ranges = _ranges(code, node)
    kept = frozenset({*ranges, *(n for n in first.names if _INDEX.search(n)), *(n.id for n in around)} & first.names)
    length_kept = kept | frozenset(n.id for n in around)
    begin, end = polynomial(code, lower, length_kept), polynomial(code, upper, length_kept)
    if begin is None or end is None:
        return None
    extent = end - begin
    inner = [n for n in ranges if ranges[n][1] is None and n in first.names]
    for index in sorted(first.names, key=lambda n: "batch" not in n.lower()):
        if index not in ranges and not _INDEX.search(index):
            continue
        stride = first.per(index)
        if index in ranges and (step := ranges[index][1]) is not None:
            stride = stride * step
        elif index in ranges and "batch" not in index.lower() and "step" not in index.lower():
            continue
        if not stride.terms or index in extent.names:
            continue
        # What moves by one is a position, unless it is called a batch.
        if not stride.names and "batch" not in index.lower():
            continue
        whole = extent
        for other in inner:
            # The rows of one batch, one after another: together they read as much.
            count = ranges[other][0]
            if other != index and count is not None and first.per(other).terms:
                whole = first.per(other) * count
        return stride, whole, index
    return None


def _ranges(code: Code, node: ast.AST) -> dict[str, tuple[Polynomial | None, Polynomial | None]]:
    """What counts around a node: the name → how far `range` counts, and by which step."""
    found: dict[str, tuple[Polynomial | None, Polynomial | None]] = {}
    for outer in code.outward(node):
        loops: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(outer, ast.For):
            loops = [(outer.target, outer.iter)]
        elif isinstance(outer, ast.ListComp | ast.GeneratorExp):
            loops = [(g.target, g.iter) for g in outer.generators]
        for target, source in loops:
            if isinstance(target, ast.Name) and isinstance(source, ast.Call) and node_name(source.func) == "range":
                args = source.args
                count = polynomial(code, args[0]) if len(args) == 1 else None
                step = polynomial(code, args[2]) if len(args) == 3 else None
                found.setdefault(target.id, (count, step))
    return found


def _missing(stride: Polynomial, extent: Polynomial, *, moved: bool = False) -> tuple[list[str], float] | None:
    """The names by which a batch is longer than the way to the next, and the factor of numbers; None for no overlap.

    Of a place that moves on, `moved`, the way may lack the batch just as well: each way is one batch for certain.
    """
    if len(stride.terms) != 1 or not extent.terms:
        return None
    (way, by), (read, many) = next(iter(stride.terms.items())), next(iter(_largest(extent).terms.items()))
    rest = list(read)
    for name in way:
        if name not in rest:
            return None
        rest.remove(name)
    batched = any(_BATCH.search(n) for n in read)
    sequenced = any(_LENGTH.search(n) for n in (read if moved else rest))
    if not batched or not rest or not sequenced or by <= 0 or many <= 0:
        return None
    return rest, many / by


def _largest(extent: Polynomial) -> Polynomial:
    """The product of the most names: what a batch holds without the one token more for its targets."""
    monomial, factor = max(extent.terms.items(), key=lambda t: len(t[0]))
    return Polynomial({monomial: factor})


def _written(code: Code, node: ast.expr) -> ast.AST:
    """Where the start of a slice is computed."""
    if isinstance(node, ast.Name):
        found = code.module.binding(node.id, code.scope(node))
        if found is not None and len(found[1]) == 1 and found[1][0].value is not None:
            return found[1][0].value
    return node


def _windows_split_at_random(code: Code) -> Iterator[Idiom]:
    """Windows that overlap, put in random order, of which one part trains and the other validates."""
    overlapping: dict[str, tuple[ast.AST, float, float | str]] = {}
    statements = sorted((n for n in ast.walk(code.module.tree) if isinstance(n, ast.Assign)), key=position)
    for statement in statements:
        made = _overlapped(code, statement.value)
        source = _base(statement.value)
        for target in statement.targets:
            if isinstance(target, ast.Name):
                if made is not None:
                    overlapping[target.id] = made
                elif source in overlapping:
                    overlapping[target.id] = overlapping[source]
    classes = {
        name: found for name, [*many] in code.classes.items() if (found := _window_class(code, many)) is not None
    }
    for statement in statements:
        value = statement.value
        for target in statement.targets:
            if isinstance(target, ast.Name) and isinstance(value, ast.Call) and node_name(value.func) in classes:
                overlapping[target.id] = classes[node_name(value.func)]
    if not overlapping:
        return
    for call in code.calls("random_split", "train_test_split"):
        first = call.args[0] if call.args else None
        name = _base(first) if first is not None else ""
        shuffled = keyword(call, "shuffle")
        if isinstance(shuffled, ast.Constant) and shuffled.value is False:
            continue
        if name in overlapping:
            yield _split(code, call, overlapping[name], node_name(call.func))
            return
    permuted = [(node, name) for node, name in _permuted(code) if name in overlapping]
    parts = _parts(code) if permuted else {}
    for node, name in permuted[:_MOST]:
        if _is_cut(parts.get(name, []), node):
            yield _split(code, node, overlapping[name], "a permutation")
            return


def _split(code: Code, at: ast.AST, made: tuple[ast.AST, float, float | str], how: str) -> Idiom:
    return code.idiom("windows split at random", at, made[0], stride=made[1], window=made[2], split=how)


def _overlapped(code: Code, node: ast.expr) -> tuple[ast.AST, float, float | str] | None:
    """Windows with a stride below their length: `x.unfold(0, 65, 4)`, `[x[i:i + n] for i in range(0, m, k)]`."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and node_name(inner.func) in ("unfold", "sliding_window_view"):
            numbers = [number(a) for a in inner.args]
            if node_name(inner.func) == "unfold" and len(numbers) == 3 and numbers[1] and numbers[2]:
                return (inner, numbers[2], numbers[1]) if numbers[2] < numbers[1] else None
            if node_name(inner.func) == "sliding_window_view":
                length = numbers[-1] if numbers and numbers[-1] else None
                return (inner, 1.0, length or ast.unparse(inner.args[-1])) if len(inner.args) > 1 else None
        if isinstance(inner, ast.ListComp) and isinstance(inner.elt, ast.Subscript | ast.Tuple):
            cut = inner.elt.elts[0] if isinstance(inner.elt, ast.Tuple) and inner.elt.elts else inner.elt
            found = _cut_by(code, cut, inner)
            if found is not None:
                return found
    return None


def _cut_by(code: Code, cut: ast.expr, loop: ast.ListComp) -> tuple[ast.AST, float, float | str] | None:
    if not isinstance(cut, ast.Subscript) or not isinstance(cut.slice, ast.Slice) or len(loop.generators) != 1:
        return None
    target, source, part = loop.generators[0].target, loop.generators[0].iter, cut.slice
    if not (isinstance(target, ast.Name) and isinstance(source, ast.Call) and node_name(source.func) == "range"):
        return None
    if not isinstance(part.lower, ast.Name) or part.lower.id != target.id or part.upper is None:
        return None
    end = polynomial(code, part.upper, frozenset({target.id}))
    step = polynomial(code, source.args[2]) if len(source.args) == 3 else Polynomial({(): 1.0})
    if end is None or step is None:
        return None
    length = end - Polynomial({(target.id,): 1.0})
    wide, way = length.terms.get((), 0.0), step.terms.get(())
    if target.id in length.names or set(step.terms) != {()} or way is None:
        return None
    if set(length.terms) == {()}:
        return (loop, way, wide) if way < wide else None
    # A length that only the running program knows is longer than one step, or there would be no windows.
    return (loop, way, str(length)) if way == 1 else None


def _window_class(code: Code, classes: list[ast.ClassDef]) -> tuple[ast.AST, float, float | str] | None:
    """A data set that gives `data[idx:idx + length]`: each example begins one token after the one before."""
    for owner in classes if len(classes) == 1 else ():
        for method in owner.body:
            if not isinstance(method, ast.FunctionDef) or method.name != "__getitem__" or len(method.args.args) != 2:
                continue
            index = method.args.args[1].arg
            if any(
                isinstance(n, ast.Name) and n.id == index and isinstance(n.ctx, ast.Store) for n in ast.walk(method)
            ):
                continue  # `i = i * block`: no longer the place of a window
            for node in ast.walk(method):
                if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice):
                    continue
                part = node.slice
                if isinstance(part.lower, ast.Name) and part.lower.id == index and part.upper is not None:
                    end = polynomial(code, part.upper, frozenset({index}))
                    length = end - Polynomial({(index,): 1.0}) if end is not None else None
                    if length is not None and index not in length.names and set(length.terms) - {()}:
                        return node, 1.0, str(length)
    return None


def _base(node: ast.expr) -> str:
    """The name that an expression is made of: `win` of `win[perm]`, `win.clone()`, `torch.stack(win)`."""
    while True:
        if isinstance(node, ast.Subscript | ast.Starred):
            node = node.value
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node_name(node.func) not in _STACKS:
                node = node.func.value
            elif node.args and node_name(node.func) in _STACKS:
                node = node.args[0]
            else:
                return ""
        else:
            return node.id if isinstance(node, ast.Name) else ""


_STACKS = frozenset({"stack", "array", "asarray", "tensor", "as_tensor", "from_numpy", "cat", "concatenate", "list",
                     "TensorDataset", "vstack", "LongTensor"})  # fmt: skip


def _permuted(code: Code) -> Iterator[tuple[ast.AST, str]]:
    """`x = x[perm]` with a random permutation, and `random.shuffle(x)`: what is put in random order."""
    for call in code.calls("shuffle"):
        if call.args and isinstance(call.args[0], ast.Name):
            yield call, call.args[0].id
    random = {b.id for call in code.calls("randperm", "permutation") for b in _targets(code.statement(call))}
    for node in ast.walk(code.module.tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            index = node.value.slice
            drawn = isinstance(index, ast.Name) and index.id in random
            drawn = drawn or (isinstance(index, ast.Call) and node_name(index.func) in ("randperm", "permutation"))
            for target in _targets(node) if drawn else ():
                yield node, target.id


def _targets(statement: ast.AST) -> list[ast.Name]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [t for t in targets if isinstance(t, ast.Name)]


def _parts(code: Code) -> dict[str, list[tuple[tuple[int, int], str, bool]]]:
    """Where `x[:k]` and `x[k:]` are taken: by the name the place, what `k` is, and whether it is the first part."""
    found: dict[str, list[tuple[tuple[int, int], str, bool]]] = {}
    for node in ast.walk(code.module.tree):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            lower, upper = node.slice.lower, node.slice.upper
            edge = upper if lower is None else lower if upper is None else None
            if edge is not None and (name := _base(node.value)):
                found.setdefault(name, []).append((position(node), ast.unparse(edge), lower is None))
    return found


def _is_cut(parts: list[tuple[tuple[int, int], str, bool]], after: ast.AST) -> bool:
    """Whether the two parts of something are taken apart: `x[:k]` and `x[k:]`."""
    later = [(edge, first) for place, edge, first in parts if place > position(after)]
    return bool({e for e, first in later if first} & {e for e, first in later if not first})


def _validation_from_training(code: Code) -> Iterator[Idiom]:
    """`va = tr[:500]` or `val_ds = train_ds`, where nothing takes that part out of what trains."""
    for seen in (_given_twice, _split_twice, _watched_as_held_out):
        if (twice := next(seen(code), None)) is not None:
            yield twice
            return
    looked = 0
    for node in ast.walk(code.module.tree):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
                pairs = list(zip(target.elts, value.elts, strict=True))
            else:
                pairs = [(target, value)]
        for held, given in pairs:
            source = _part_of(given) if isinstance(held, ast.Name) else None
            if source is None or not isinstance(held, ast.Name):
                continue
            if not (_HELD.match(held.id) and _TRAIN.match(source.id)):
                continue
            looked += 1
            if looked > _MOST:
                return
            if _stays_whole(code, source, node):
                yield code.idiom(
                    "validation from training", held, train=source.id, validation=held.id,
                    whole=int(isinstance(given, ast.Name) or node_name(getattr(given, "func", given)) == "DataLoader"),
                )  # fmt: skip
                return


def _given_twice(code: Code) -> Iterator[Idiom]:
    """`model.fit(x, y, validation_data=(x, y))`."""
    for call in code.calls("fit"):
        held = keyword(call, "validation_data")
        first = call.args[0] if call.args else keyword(call, "x")
        inner = held.elts[0] if isinstance(held, ast.Tuple) and held.elts else held
        if isinstance(first, ast.Name) and inner is not None and ast.unparse(inner) == first.id:
            yield code.idiom("validation from training", inner, train=first.id, validation="validation_data", whole=1)


_FIT = (
    ("train_dataset", "eval_dataset"),
    ("train_dataloaders", "val_dataloaders"),
    ("train_dataloader", "val_dataloaders"),
)
"""Under which names Hugging Face's trainers and Lightning's take the two."""


def _split_twice(code: Code) -> Iterator[Idiom]:
    """`Trainer(train_dataset=ds, eval_dataset=ds.select(range(500)))`, `trainer.fit(model, loader, DataLoader(ds))`.

    Both are one data set, which the first is whole. Whoever lets a model learn a few examples by heart says so.
    """
    if any("overfit" in n.lower() or n == "fast_dev_run" for n in _words(code)):
        return
    for call, _ in code.module.calls:
        for first, second in _FIT:
            train, held = keyword(call, first), keyword(call, second)
            if first != "train_dataset" and code.receiver(call).rpartition(".")[2] in ("trainer", "Trainer"):
                is_fit = node_name(call.func) == "fit" and not any(isinstance(a, ast.Starred) for a in call.args)
                train = train or (call.args[1] if is_fit and len(call.args) > 1 else None)
                held = held or (call.args[2] if is_fit and len(call.args) > 2 else None)
            if train is None or held is None:
                continue
            whole, (part, is_whole) = _content(code, train), _content(code, held)
            if whole[1] and part is not None and whole[0] is not None and ast.unparse(whole[0]) == ast.unparse(part):
                yield code.idiom(
                    "validation from training", held, train=ast.unparse(part)[:60], validation=ast.unparse(held)[:60],
                    whole=int(is_whole),
                )  # fmt: skip
                return


def _words(code: Code) -> set[str]:
    """Every name of a file, those of keywords among them."""
    return code.module.names | {k.arg for c, _ in code.module.calls for k in c.keywords if k.arg}


def _content(code: Code, node: ast.expr, depth: int = 0) -> tuple[ast.expr | None, bool]:
    """The data set that an expression gives, and whether all of it; None where that does not show.

    A name counts where it is bound once, by one value: `train`, `splits["train"]`.
    """
    if depth > _DEPTH:
        return None, False
    if isinstance(node, ast.Call):
        last = node_name(node.func)
        if (
            last == "DataLoader"
            and node.args
            and not any(k.arg in (None, "sampler", "batch_sampler") for k in node.keywords)
        ):
            return _content(code, node.args[0], depth + 1)
        if last in ("select", "take", "shard") and isinstance(node.func, ast.Attribute):
            return _content(code, node.func.value, depth + 1)[0], False
        return None, False
    if isinstance(node, ast.Subscript):
        key = node.slice
        named = isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(node.value, ast.Name)
        return (node, True) if named and _is_bound_once(code, node.value) else (None, False)
    if isinstance(node, ast.Name) and _is_bound_once(code, node):
        found = code.module.binding(node.id, code.scope(node))
        value = found[1][0].value if found is not None and found[1][0].index is None else None
        if isinstance(value, ast.Name | ast.Subscript | ast.Call):
            inner, whole = _content(code, value, depth + 1)
            if inner is not None:
                return inner, whole
        return node, True
    return None, False


_DEPTH = 6


def _is_bound_once(code: Code, node: ast.expr) -> bool:
    found = code.module.binding(node.id, code.scope(node)) if isinstance(node, ast.Name) else None
    return found is not None and len(found[1]) == 1 and found[1][0].value is not None


_CALLED_HELD = lazily(r"(?i)(val(id(ation)?)?|dev|test|eval)([_-]?(set|data|\d))?$")


def _watched_as_held_out(code: Code) -> Iterator[Idiom]:
    """`xgb.train(params, dtrain, evals=[(dtrain, "val")])`: the training data under the name of the validation's."""
    for call in code.calls("train"):
        train = call.args[1] if len(call.args) > 1 else keyword(call, "dtrain") or keyword(call, "train_set")
        evals, sets, names = keyword(call, "evals"), keyword(call, "valid_sets"), keyword(call, "valid_names")
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(evals, ast.List | ast.Tuple):
            both = [e.elts for e in evals.elts if isinstance(e, ast.Tuple | ast.List) and len(e.elts) == 2]
            pairs = [(e[0], e[1]) for e in both]
        elif isinstance(sets, ast.List | ast.Tuple) and isinstance(names, ast.List | ast.Tuple):
            pairs = list(zip(sets.elts, names.elts, strict=False))
        for data, name in pairs:
            said = name.value if isinstance(name, ast.Constant) else None
            same = isinstance(train, ast.Name) and isinstance(data, ast.Name) and data.id == train.id
            if train is None or not same or not isinstance(said, str) or not _CALLED_HELD.fullmatch(said):
                continue
            if _is_bound_once(code, train):
                yield code.idiom(
                    "validation from training", data, train=ast.unparse(train), validation=said, whole=1
                )  # fmt: skip
                return


def _part_of(node: ast.expr) -> ast.Name | None:
    """The name of which an expression is all, a slice, a random choice or a `Subset`."""
    if isinstance(node, ast.Name):
        return node
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice | ast.Name | ast.Call):
        return node.value if isinstance(node.value, ast.Name) else None
    if isinstance(node, ast.Call):
        last = node_name(node.func)
        sampled = any(k.arg in (None, "sampler", "batch_sampler") for k in node.keywords)
        if last == "DataLoader" and node.args and not sampled:
            return _first_tensor(node.args[0])
        if last == "Subset" and node.args and isinstance(node.args[0], ast.Name):
            return node.args[0]
        if last in ("clone", "copy", "sample") and isinstance(node.func, ast.Attribute):
            return node.func.value if isinstance(node.func.value, ast.Name) else None
    return None


def _first_tensor(node: ast.expr) -> ast.Name | None:
    """The data set under a name, or the first tensor of `TensorDataset(x, y)`."""
    if isinstance(node, ast.Call) and node_name(node.func) == "TensorDataset" and node.args:
        node = node.args[0]
    return node if isinstance(node, ast.Name) else None


def _stays_whole(code: Code, name: ast.Name, at: ast.AST) -> bool:
    """Whether what trains is one thing that nothing is taken out of: bound once, and no other part of it is taken."""
    found = code.module.binding(name.id, code.scope(name))
    if found is None or len(found[1]) != 1 or name.id in found[0].params:
        return False
    uses = [
        n
        for n in ast.walk(found[0].node)
        if isinstance(n, ast.Name) and n.id == name.id and isinstance(n.ctx, ast.Load) and not code.within(n, at)
    ]
    for use in uses:
        parent = code.parents.get(use)
        # Batches are drawn from it in loops; any other slice may be the part that is left for training.
        sliced = isinstance(parent, ast.Subscript) and parent.value is use and isinstance(parent.slice, ast.Slice)
        if sliced and parent is not None and not code.loops(parent):
            return False
        if isinstance(parent, ast.Call) and node_name(parent.func) in (
            "Subset",
            "KFold",
            "random_split",
            "train_test_split",
        ):
            return False
        if isinstance(parent, ast.Attribute) and parent.attr in ("drop", "remove", "pop", "select", "train_test_split"):
            return False
    return bool(uses)


_HELD_OUT = lazily(r"(?:^|[^a-z])(?:val|valid|validation|test|eval|dev|vis|sample)")


def _same_batch(code: Code) -> Iterator[Idiom]:
    """`next(iter(loader))` in a loop that trains, of a loader that does not shuffle: its first batch, each time."""
    for call in code.calls("next"):
        inner = call.args[0] if call.args else None
        if not (isinstance(inner, ast.Call) and node_name(inner.func) == "iter" and len(inner.args) == 1):
            continue
        loops = [loop for loop in code.loops(call) if isinstance(loop, LOOPS)]
        if not loops or _HELD_OUT.search(ast.unparse(inner.args[0]).lower()):
            continue
        steps = (n for n in ast.walk(loops[0]) if isinstance(n, ast.Attribute) and n.attr == "backward")
        # A batch to look at once an epoch, around the loop that trains, is none that is trained on.
        if not any(next(iter(code.loops(n)), None) is loops[0] for n in steps):
            continue
        made = code.ends(inner.args[0]) or []
        loaders = [m for m, _ in made if isinstance(m, ast.Call) and node_name(m.func) == "DataLoader"]
        if len(loaders) == len(made) == 1 and _in_order(loaders[0]):
            yield code.idiom("same batch", call, loaders[0], loader=ast.unparse(inner.args[0])[:60])
            return


def _in_order(loader: ast.Call) -> bool:
    if any(k.arg in (None, "sampler", "batch_sampler") for k in loader.keywords) or len(loader.args) > 2:
        return False
    shuffle = keyword(loader, "shuffle")
    return shuffle is None or (isinstance(shuffle, ast.Constant) and shuffle.value is False)


def _pad_is_end(code: Code) -> Iterator[Idiom]:
    """`tokenizer.pad_token = tokenizer.eos_token`, or a tokenizer made so, and what the file does with the labels.

    `collator`: Hugging Face's collator for causal models takes every padding id out of the labels, and with it the end
    of each text. `labels`: labels are the ids themselves, padding and all.
    """
    node = next(_padded_with_the_end(code), None)
    if node is None:
        return
    for call in code.calls("DataCollatorForLanguageModeling"):
        masked = keyword(call, "mlm")
        if isinstance(masked, ast.Constant) and masked.value is False:
            yield code.idiom("pad is end", node, call, labels="collator")
            return
    # What the rest of the file does is the same for every such line.
    yield from (code.idiom("pad is end", node, copied, labels="ids") for copied in islice(_copied_labels(code), 1))


def _padded_with_the_end(code: Code) -> Iterator[ast.AST]:
    """Where padding is made the end of text: by assignment, or by what a tokenizer is made with."""
    for node in ast.walk(code.module.tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
            given = node.value.attr
            set_to = {t.attr for t in node.targets if isinstance(t, ast.Attribute)}
            if (given == "eos_token" and "pad_token" in set_to) or (
                given == "eos_token_id" and "pad_token_id" in set_to
            ):
                yield node
        elif isinstance(node, ast.Call) and "Tokenizer" in code.module.dotted(node.func):
            pad, end = keyword(node, "pad_token"), keyword(node, "eos_token")
            one = isinstance(pad, ast.Constant) and isinstance(end, ast.Constant) and pad.value == end.value
            taken = isinstance(pad, ast.Attribute) and pad.attr == "eos_token"
            if pad is not None and (taken or (one and isinstance(ast.literal_eval(pad), str))):
                yield pad


def _copied_labels(code: Code) -> Iterator[ast.AST]:
    """`batch["labels"] = batch["input_ids"].clone()` in a file that nowhere masks: no -100, no mask in a loss."""
    masks = {"ignore_index", "masked_fill", "masked_fill_", "where", "loss_mask", "label_mask", "labels_mask"}
    if masks & (code.module.names | {k.arg for c, _ in code.module.calls for k in c.keywords}):
        return
    if any(number(n) == 100 for n in ast.walk(code.module.tree) if isinstance(n, ast.Constant)):
        return
    for node in ast.walk(code.module.tree):
        if isinstance(node, ast.Assign) and any(_is_key(t, "labels") for t in node.targets):
            source: ast.expr = node.value
            while isinstance(source, ast.Call) and isinstance(source.func, ast.Attribute):
                source = source.func.value
            if _is_key(source, "input_ids"):
                yield node


def _is_key(node: ast.AST, name: str) -> bool:
    key = node.slice if isinstance(node, ast.Subscript) else None
    return isinstance(key, ast.Constant) and key.value == name


def _newline_separator(code: Code) -> Iterator[Idiom]:
    r"""`" \n ".join(row)` of records that become one text for a tokenizer.

    Joining the lines of a file puts back what splitting took away, and is none of this.
    """
    tokenizing = [c for c, _ in code.module.calls if _TOKENIZES.search(node_name(c.func))][:_MOST]
    for call in islice(code.calls("join"), _MOST):
        text = call.func.value if isinstance(call.func, ast.Attribute) else None
        if isinstance(text, ast.Name):
            values = [v for v, _ in code.named(text.id, text) if isinstance(v, ast.Constant)]
            text = values[0] if len(values) == 1 else None
        if not isinstance(text, ast.Constant) or not isinstance(text.value, str) or len(call.args) != 1:
            continue
        if "\n" not in text.value or text.value.strip() or "\n\n" in text.value:
            continue
        owner, function = code.owner(call), code.function(call)
        records = ast.unparse(call.args[0])
        if _LINES.search(records) or isinstance(call.args[0], ast.List | ast.Tuple) or _is_printed(code, call):
            continue
        region: ast.AST = function or owner or code.module.tree
        target = next(iter(_targets(code.statement(call))), None)
        named = f"{records} {target.id if target else ''} {getattr(owner, 'name', '')} {getattr(function, 'name', '')}"
        where = "here" if _is_encoded(code, call, target, region, tokenizing) else "elsewhere"
        # What a function gives back may be tokenised by the module that calls it.
        if not _RECORDS.search(named) or (where == "elsewhere" and not isinstance(code.statement(call), ast.Return)):
            continue
        about = f"{named} {code.module.spans.file.path} {ast.get_docstring(code.module.tree) or ''}".lower()
        place = code.module.place(text)
        details = (
            ("records", records[:60]), ("separator", text.value), ("tokenized", where),
            ("word", "LOG" if re.search(r"\blogs?(\b|_)", about) else "SEP"),
        )  # fmt: skip
        yield Idiom("newline separator", place, details, (code.module.line(call),))
        return


def _is_printed(code: Code, call: ast.Call) -> bool:
    for outer in code.outward(call):
        if isinstance(outer, ast.Call) and node_name(outer.func) in (
            "print",
            "write",
            "info",
            "debug",
            "warning",
            "error",
        ):
            return True
        if isinstance(outer, ast.stmt):
            return isinstance(outer, ast.Raise)
    return False


def _is_encoded(
    code: Code, call: ast.Call, target: ast.Name | None, region: ast.AST, tokenizing: list[ast.Call]
) -> bool:
    """Whether the joined text goes to a tokenizer: in place, under its name, or out of a data set."""
    inner: ast.AST = call
    for outer in code.outward(call):
        # `text.encode("utf-8")` makes bytes; a tokenizer is given the text.
        if isinstance(outer, ast.Call) and inner is not outer.func and _TOKENIZES.search(node_name(outer.func)):
            return True
        if isinstance(outer, ast.stmt):
            break
        inner = outer
    for node in tokenizing:
        if target is not None and code.within(node, region):
            given = [*node.args, *(k.value for k in node.keywords)]
            if any(isinstance(n, ast.Name) and n.id == target.id for a in given for n in ast.walk(a)):
                return True
    owner = code.owner(call)
    if owner is not None and any("Dataset" in code.module.dotted(b) for b in owner.bases):
        return True
    # Texts are gathered in one place and tokenised in another.
    if target is None or not tokenizing:
        return False
    return any(c.args and node_name(c.args[0]) == target.id and code.within(c, region) for c in code.calls("append"))


def _lossy_normalization(code: Code) -> Iterator[Idiom]:
    """Text without its accents or its case, in what prepares it for a tokenizer."""
    accents = next(code.calls("unidecode", "strip_accents", "remove_accents", "StripAccents"), None)
    for call in code.calls("normalize"):
        form = call.args[0] if call.args else None
        decomposed = isinstance(form, ast.Constant) and form.value in _NORMAL_FORMS
        if decomposed and (_COMBINING & code.names(code.function(call) or code.module.tree) or _is_ascii(code, call)):
            accents = accents or call
    lower: ast.AST | None = next(code.calls("Lowercase"), None)
    for call in code.calls("lower", "casefold"):
        function = code.function(call)
        cleaned = node_name(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        if function is not None and _CLEANS.search(function.name) and _TEXT.search(cleaned):
            lower = lower or call
    for what, call_ in (("accents", accents), ("case", lower)):
        if call_ is not None:
            yield code.idiom("lossy normalization", call_, what=what)


def _is_ascii(code: Code, call: ast.Call) -> bool:
    """`normalize("NFKD", text).encode("ascii", "ignore")`."""
    parent = code.parents.get(call)
    outer = code.parents.get(parent) if isinstance(parent, ast.Attribute) and parent.attr == "encode" else None
    return isinstance(outer, ast.Call) and any(isinstance(a, ast.Constant) and a.value == "ascii" for a in outer.args)


def _unset_seeds(code: Code) -> Iterator[Idiom]:
    """`train_test_split(x, random_state=None)`: a seed by its name, and none by its value."""
    for call, _ in code.module.calls:
        for given in call.keywords:
            is_none = isinstance(given.value, ast.Constant) and given.value.value is None
            if is_none and given.arg is not None and _SEED.search(given.arg):
                yield code.idiom("unset seed", given.value, keyword=given.arg)


_SEED = lazily(r"(?i)seed|random_state|prngkey")
