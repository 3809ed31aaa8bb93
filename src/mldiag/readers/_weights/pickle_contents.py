"""What a pickle holds by name: tensors and scalars, found without building anything."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, field

from mldiag.artifacts import Scalar
from mldiag.readers._weights.binary import MAX_TENSORS
from mldiag.readers._weights.pickle_opcodes import PLAIN, Global, Instance, Malformed, Pairs
from mldiag.readers._weights.pickled_tensors import Stored, dtype_named, is_torch_part, numpy_code, tensor_of
from mldiag.secrets import is_secret

MAX_VALUES = 1_000_000
"""Values that are walked through; containers that hold each other could be walked for ever."""
MAX_DEPTH = 64
MAX_SCALARS = 2_000
MAX_TEXT = 1_000
"""Longer texts beside the tensors are data or whole files, not settings."""
MAX_LIST = 64
_NAME = 50  # characters of a name that are free
TABLE_SIZE = 40
"""A mapping of more scalars than this, all of one type, is a table (token → id), not settings."""

_MODULE_PARTS = ("_parameters", "_buffers", "_modules")
_NUMPY_SCALARS = {"f8": "<d", "f4": "<f", "f2": "<e", "i8": "<q", "i4": "<i", "i2": "<h", "i1": "<b", "u8": "<Q",
                  "u4": "<I", "u2": "<H", "u1": "<B", "b1": "<?"}  # fmt: skip
_SAFE = PLAIN | {
    "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "argparse.Namespace",
    "numpy._core.numeric._frombuffer", "numpy.core.numeric._frombuffer", "pathlib.Path", "pathlib.PurePath",
    "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
    "torch.Size", "torch.device", "torch.nn.parameter.Parameter", "torch.Tensor", "torch.serialization._get_layout",
}  # fmt: skip


class Contents(Struct):
    """What was found: tensors and scalars by name; `root` is the name of the class that the whole is of, if it is."""

    tensors: list[Stored] = field(default_factory=list)
    scalars: dict[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)
    root: str = ""


class _Node(Struct):
    """A value to look at: the name of a tensor there, the key of a scalar there (None: scalars are passed over)."""

    value: object
    name: str
    key: str | None
    in_module: bool
    depth: int


def unsafe(names: Iterable[str]) -> tuple[str, ...]:
    """Of what a pickle would import, all that is not needed to rebuild tensors and plain containers."""
    return tuple(sorted({n for n in names if n not in _SAFE and not is_torch_part(n)}))


def contents(root: object) -> Contents:
    """Everything that tensors and settings are, below an object.

    Raises:
        Malformed: more values than are walked through.
    """
    found = Contents()
    if isinstance(root, Instance):
        found.root = root.name
    nodes, left = [_Node(root, "", "", False, 0)], MAX_VALUES
    while nodes:
        node = nodes.pop()
        left -= 1
        tensor = tensor_of(node.value, node.name)
        if tensor:
            found.tensors.append(tensor)
            left -= 2 * len(tensor.shape) + len(tensor.name) // _NAME
            if left < 0 or len(found.tensors) > MAX_TENSORS:
                raise Malformed(f"the pickle holds more than the {MAX_TENSORS:,} tensors that are looked at")
            continue
        known, scalar = _scalar(node.value)
        if known:
            if node.key and len(found.scalars) < MAX_SCALARS and not _left_out(node.key, scalar):
                found.scalars[node.key] = scalar
        elif node.depth < MAX_DEPTH:
            # What it costs to look at a container counts each time that another holds it; so does a long name, which
            # all that it holds get a copy of.
            left -= _size(node.value) * (1 + len(node.name) // _NAME)
            if left < 0:
                raise Malformed(f"the pickle holds more than the {MAX_VALUES:,} values that are looked at")
            nodes += reversed(list(_children(node)))
    return found


def _size(value: object) -> int:
    """Members of a container."""
    if isinstance(value, list | tuple):
        return len(value)
    if isinstance(value, Pairs):
        return len(value.pairs)
    if not isinstance(value, Instance):
        return 0
    states = value.state if isinstance(value.state, tuple) else (value.state,)
    held = sum(len(s.pairs) for s in states if isinstance(s, Pairs))
    return held + len(states) + len(value.items.pairs) + (len(value.args) if isinstance(value.args, tuple) else 0)


def _left_out(key: str, value: object) -> bool:
    """A secret, which no report should repeat; the numbers of an optimizer group's parameters."""
    return is_secret(key, value) or (isinstance(value, tuple) and key.rpartition(".")[2] == "params")


def _children(node: _Node) -> Iterator[_Node]:
    value = node.value
    if isinstance(value, list | tuple):
        if any(_is_container(v) for v in value):
            yield from (_below(node, str(i), v, node.key) for i, v in enumerate(value))
    elif isinstance(value, Pairs):
        yield from _entries(node, value)
    elif isinstance(value, Instance):
        yield from _attributes(node, value)


def _attributes(node: _Node, value: Instance) -> Iterator[_Node]:
    states = value.state if isinstance(value.state, tuple) else (value.state,)
    state = Pairs([p for s in states if isinstance(s, Pairs) for p in s.pairs])
    if any(isinstance(state.get(p), Pairs) for p in _MODULE_PARTS):
        # A whole module: its state dict has only what lies in these, and is named without them.
        for part in _MODULE_PARTS:
            held = state.get(part)
            if isinstance(held, Pairs):
                yield from (_below(node, k, v, None, in_module=True) for k, v in held.pairs if isinstance(k, str))
        return
    if value.name.startswith("omegaconf."):
        inner = state.get("_content") if state.get("_content") is not None else state.get("_val")
        yield _Node(inner, node.name, node.key, node.in_module, node.depth + 1)
        return
    scripted = value.name.startswith("__torch__")
    for k, v in state.pairs:
        if isinstance(k, str) and not (scripted and k == "training"):
            yield _below(node, k, v, node.key, in_module=scripted)
    yield from _entries(node, value.items)
    if not state.pairs and isinstance(value.args, tuple):
        yield from (_below(node, str(i), a, None) for i, a in enumerate(value.args) if _is_container(a))


def _entries(node: _Node, mapping: Pairs) -> Iterator[_Node]:
    pairs = mapping.pairs
    # State by the number of a parameter, a table from tokens to ids: no settings in there.
    table = bool(pairs) and (
        all(isinstance(k, int) for k, _ in pairs)
        or (len(pairs) > TABLE_SIZE and len({type(v) for _, v in pairs}) == 1 and not _is_container(pairs[0][1]))
    )
    for key, value in pairs:
        # Python refuses to write out a number of thousands of digits.
        if isinstance(key, str | float) or (isinstance(key, int) and -(2**64) < key < 2**64):
            yield _below(node, str(key)[:MAX_TEXT], value, None if table else node.key)


def _below(node: _Node, part: str, value: object, key: str | None, *, in_module: bool = False) -> _Node:
    """A value inside another: names within a module join with dots, as in its state dict, all others with slashes."""
    joint = "." if node.in_module else "/"
    name = f"{node.name}{joint}{part}" if node.name else part
    return _Node(value, name, None if key is None else f"{key}.{part}".lstrip("."), in_module, node.depth + 1)


def _is_container(value: object) -> bool:
    return isinstance(value, list | tuple | Pairs | Instance)


def _scalar(value: object) -> tuple[bool, Scalar | tuple[Scalar, ...]]:
    """Whether a value is a scalar or a short list of them, and which."""
    single, found = _single(value)
    if single:
        return True, found
    if isinstance(value, list | tuple) and 0 < len(value) <= MAX_LIST and not any(map(_is_container, value)):
        items = [_single(v) for v in value]
        if all(ok for ok, _ in items):
            return True, tuple(v for _, v in items)
    return False, None


def _single(value: object) -> tuple[bool, Scalar]:
    if value is None or isinstance(value, bool | float):
        return True, value
    if isinstance(value, int):
        return -(2**64) < value < 2**64, value
    if isinstance(value, str):
        return len(value) <= MAX_TEXT, value
    if isinstance(value, Global):
        dtype = dtype_named(value.name)
        return dtype is not None, dtype
    if isinstance(value, Instance):
        return _called_scalar(value)
    return False, None


def _called_scalar(value: Instance) -> tuple[bool, Scalar]:
    """Numbers of NumPy, members of enumerations, paths and devices as the plain values they stand for."""
    args = value.args if isinstance(value.args, tuple) else ()
    if value.name.endswith("multiarray.scalar"):
        return _numpy_scalar(args)
    if value.name.startswith("pathlib.") and all(isinstance(a, str) for a in args):
        path = "/".join(str(a) for a in args).replace("//", "/")
        return 0 < len(path) <= MAX_TEXT, path
    if value.name == "torch.device" and args and isinstance(args[0], str):
        number = f":{args[1]}" if len(args) > 1 and isinstance(args[1], int) and 0 <= args[1] < 2**16 else ""
        return True, args[0][:MAX_TEXT] + number
    plain = value.state is None and not value.items.pairs and len(args) == 1
    if plain and not _is_container(args[0]) and not isinstance(args[0], Global):
        return _single(args[0])
    return False, None


def _numpy_scalar(args: tuple[Any, ...]) -> tuple[bool, Scalar]:
    if len(args) != 2 or not isinstance(args[0], Instance) or not isinstance(args[1], bytes):
        return False, None
    code, order = numpy_code(args[0])
    packing = _NUMPY_SCALARS.get(code)
    if packing is None or struct.calcsize(packing) != len(args[1]):
        return False, None
    number: Scalar = struct.unpack((">" if order == ">" else "<") + packing[1:], args[1])[0]
    return True, number
