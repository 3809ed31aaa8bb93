"""The calls in a pickle that rebuild tensors: of PyTorch and NumPy, read for what the tensor is, never made.

Source: `torch/_utils.py` (the `_rebuild_*` functions) and `torch/serialization.py` of PyTorch 2.13, and
`numpy/_core/multiarray.py` of NumPy 2.4.
"""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct

from mldiag.readers._weights.binary import ITEM_SIZES, shape_of, sizes_of
from mldiag.readers._weights.pickle_opcodes import Global, Instance, Persistent

MAX_WRAPPED = 16
"""Calls around a tensor (a parameter, a subclass) that are looked through."""
MAX_KEY = 1_000

_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "QInt8Storage": "qint8", "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
}  # fmt: skip
_DTYPES = frozenset(ITEM_SIZES) | {"uint1", "uint2", "uint3", "uint4", "uint5", "uint6", "uint7", "quint4x2",
                                   "float4_e2m1fn_x2"}  # fmt: skip
_ALIASES = {"float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32",
            "short": "int16", "cfloat": "complex64", "cdouble": "complex128", "chalf": "complex32"}  # fmt: skip
_UNWRAPPED = frozenset({"_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_buffer",
                        "_rebuild_device_tensor_from_numpy", "_rebuild_device_tensor_from_cpu_tensor",
                        "_rebuild_xla_tensor", "_rebuild_nested_tensor"})  # fmt: skip
_NUMPY_KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}


class Stored(Struct, frozen=True):
    """A tensor as a pickle describes it; `key` names its storage, `start` is its first element there.

    Attributes:
        storage: elements of the storage, each of `item` bytes.
        held: the bytes of an array of NumPy, which the pickle holds itself; `big`: their order is the other one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    key: str | None = None
    start: int = 0
    storage: int = 0
    held: bytes | bytearray | None = None
    big: bool = False


def tensor_of(value: object, name: str, depth: int = MAX_WRAPPED) -> Stored | None:
    """A tensor of PyTorch or an array of NumPy that a call would rebuild."""
    for _ in range(depth):
        if not isinstance(value, Instance):
            return None
        module, _, call = value.name.rpartition(".")
        args = value.args if isinstance(value.args, tuple) else ()
        if module.endswith("multiarray") and call == "_reconstruct":
            return _array(value, name)
        if module.endswith("numeric") and call == "_frombuffer" and len(args) > 2 and isinstance(args[1], Instance):
            shape = shape_of(args[2])
            return None if shape is None else _of_numpy(name, args[1], shape, args[0], args[3:4] == ("F",))
        if not module.startswith("torch") or not args:
            return None
        if call in _UNWRAPPED or call == "Parameter":
            value = args[0]
        elif call in ("_rebuild_from_type_v2", "_rebuild_from_type"):
            inner = args[2] if len(args) > 2 else args[1] if len(args) > 1 else ()
            value = Instance(args[0], inner)
        elif call == "_rebuild_sparse_tensor" and len(args) > 1 and isinstance(args[1], tuple):
            return _sparse(args[1], name) if depth == MAX_WRAPPED else None
        elif call.startswith("_rebuild_meta_tensor") and len(args) > 1:
            dtype, shape = _dtype(args[0]), shape_of(_unsized(args[1]))
            return None if dtype is None or shape is None else Stored(name, dtype, shape)
        elif call.startswith("_rebuild_wrapper_subclass") and len(args) > 2:
            dtype, shape = _dtype(args[1]), shape_of(_unsized(args[2]))
            return None if dtype is None or shape is None else Stored(name, dtype, shape)
        elif call.startswith(("_rebuild_tensor", "_rebuild_qtensor")):
            return _dense(args, name)
        else:
            return None
    return None


def _unsized(value: object) -> object:
    """The numbers of a `torch.Size`."""
    if isinstance(value, Instance) and value.name == "torch.Size" and isinstance(value.args, tuple):
        return value.args[0] if value.args else ()
    return value


def _dense(args: tuple[Any, ...], name: str) -> Stored | None:
    if len(args) < 4 or not isinstance(args[0], Persistent):
        return None
    reference = args[0].id
    shape, strides = shape_of(_unsized(args[2])), sizes_of(_unsized(args[3]))
    if shape is None or strides is None or len(shape) != len(strides) or not _is_count(args[1]):
        return None
    if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
        return None
    key = reference[2]
    if not isinstance(key, str) and not (isinstance(key, int) and -(2**64) < key < 2**64):
        return None
    dtype = _dtype(reference[1])
    count = reference[4]
    explicit = next((d for d in map(_dtype, args[6:10]) if d), None)
    if explicit and explicit != dtype:  # an untyped storage counts bytes, and the call says the type
        dtype = explicit
        count = count // ITEM_SIZES.get(explicit, 1) if _is_count(count) else 0
    if dtype is None or not _is_count(count):
        return None
    start = args[1]
    if len(reference) > 5 and isinstance(reference[5], tuple) and len(reference[5]) == 3:
        view = reference[5][1]  # torch < 1.0: a view of another storage, from this element on
        start += view if _is_count(view) else 0
    plain = strides == _c_order(shape) or _is_plain(shape, strides)
    return Stored(name, dtype, shape, None if plain else strides, str(key)[:MAX_KEY], start, count)


def _is_count(value: object) -> bool:
    """Numbers of millions of digits would cost more each time they are calculated with."""
    return type(value) is int and 0 <= value < 2**63


def _sparse(parts: tuple[Any, ...], name: str) -> Stored | None:
    """A sparse tensor has the type of its values, which are a dense one, and no bytes of its own."""
    parts = parts[:8]
    values = next((t for p in reversed(parts) if (t := tensor_of(p, name, MAX_WRAPPED - 1))), None)
    shape = next((s for p in reversed(parts) if (s := shape_of(_unsized(p))) is not None), None)
    return None if values is None or shape is None else Stored(name, values.dtype, shape)


def _array(value: Instance, name: str) -> Stored | None:
    state = value.state if isinstance(value.state, tuple) else ()
    if len(state) < 3 or not isinstance(state[2], Instance):
        return None
    shape = shape_of(state[1])
    data = state[4] if len(state) > 4 else None
    return None if shape is None else _of_numpy(name, state[2], shape, data, state[3:4] == (True,))


def _of_numpy(name: str, dtype: Instance, shape: tuple[int, ...], data: object, fortran: bool) -> Stored:
    code, order = numpy_code(dtype)
    held = data if isinstance(data, bytes | bytearray) else None
    strides = _c_order(shape[::-1])[::-1] if fortran and len(shape) > 1 else None
    return Stored(name, numpy_dtype(code) or "object", shape, strides, held=held, big=order == ">")


def numpy_dtype(code: str) -> str | None:
    """`float32` for `f4`."""
    if code in ("b1", "?"):
        return "bool"
    kind, size = _NUMPY_KINDS.get(code[:1]), code[1:]
    return f"{kind}{int(size) * 8}" if kind and size in ("1", "2", "4", "8", "16", "32") else None


def _dtype(value: object) -> str | None:
    return dtype_named(value.name) if isinstance(value, Global) else None


def dtype_named(name: str) -> str | None:
    """The type that a global of PyTorch names: `torch.float32`, `torch.cuda.HalfStorage`."""
    module, _, last = name.rpartition(".")
    if module not in ("torch", "torch.cuda", "torch.storage"):
        return None
    return _STORAGES.get(last) or _ALIASES.get(last) or (last if last in _DTYPES else None)


def _c_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _is_plain(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the values lie in C order: steps along dimensions of one element do not count."""
    if 0 in shape:
        return True
    wanted = _c_order(shape)
    return all(n == 1 or s == w for n, s, w in zip(shape, strides, wanted, strict=True))


def extent(stored: Stored) -> int:
    """Elements from the first to the last that the tensor uses."""
    if 0 in stored.shape:
        return 0
    if stored.strides is None:
        return math.prod(stored.shape)
    return sum((n - 1) * s for n, s in zip(stored.shape, stored.strides, strict=True)) + 1


def numpy_code(dtype: Instance) -> tuple[str, str]:
    """`f8` and its byte order from a pickled `numpy.dtype`."""
    args = dtype.args if isinstance(dtype.args, tuple) else ()
    code = args[0] if args and isinstance(args[0], str) else ""
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    order = state[1] if len(state) > 1 and isinstance(state[1], str) else "<"
    return code, order


def is_torch_part(name: str) -> bool:
    """Whether a name is one of PyTorch's that rebuild a tensor or say its type."""
    module, _, last = name.rpartition(".")
    if module == "torch._utils" or (module == "torch._tensor" and last.startswith("_rebuild")):
        return last.startswith("_rebuild")
    return module in ("torch", "torch.cuda", "torch.storage") and (last in _STORAGES or dtype_named(name) is not None)
