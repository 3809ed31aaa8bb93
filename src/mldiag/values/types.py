"""How numpy holds the values of each stored type: as its own type, or as the bits of one that it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_CODES = {
    "float64": "f8", "float32": "f4", "float16": "f2", "complex64": "c8", "complex128": "c16",
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8", "uint8": "u1", "uint16": "u2", "uint32": "u4",
    "uint64": "u8", "qint8": "i1", "quint8": "u1", "qint16": "i2", "quint16": "u2", "qint32": "i4",
    # Bits: numpy has no such type, and a truth value of another byte than 0 and 1 would confuse its own.
    "bool": "u1", "bfloat16": "u2", "complex32": "u4", "float8_e4m3fn": "u1", "float8_e5m2": "u1",
    "float8_e4m3fnuz": "u1", "float8_e5m2fnuz": "u1", "float8_e8m0fnu": "u1",
}  # fmt: skip
_EXTENDED = {"float96": ("g", 12), "float128": ("g", 16), "complex192": ("G", 24), "complex256": ("G", 32)}
_WITHOUT = {
    "object": "Python objects, which are not unpickled",
    "structured": "records of several fields",
    "str": "text", "string": "text", "bytes": "text", "resource": "a resource of TensorFlow", "variant": "a variant",
    "datetime64": "dates", "timedelta64": "spans of time", "committed": "a type that the file names elsewhere",
    "enum": "names", "void": "bytes without a type", "bitfield": "bits", "reference": "references", "array": "arrays",
    "time": "times",
}  # fmt: skip


def storage(dtype: str) -> tuple[np.dtype[Any], bool] | None:
    """The type by which numpy holds a stored type, and whether its bytes are the other way around than here."""
    import sys

    import numpy as np

    code = _CODES.get(dtype)
    if code is not None:
        return np.dtype(code), sys.byteorder != "little"
    if dtype[:1] == ">" and dtype[1:] in _CODES.values():
        return np.dtype(dtype[1:]), sys.byteorder == "little"
    code, size = _EXTENDED.get(dtype, ("", 0))
    # What lies in the file is what the processor that wrote it has: 80 bits on x86, and other ones elsewhere.
    if code and np.dtype(code).itemsize == size:
        return np.dtype(code), False
    return None


def refusal(dtype: str) -> str:
    """Why a type without `storage` has no values here."""
    if dtype in _WITHOUT:
        return f"{dtype} is {_WITHOUT[dtype]}, not numbers"
    if dtype in _EXTENDED:
        return f"{dtype} is a type that this machine does not have"
    if dtype.startswith(("q", "iq", "tq", "mxfp")):
        return f"{dtype} is blocks of quantised numbers, which are not unpacked"
    if dtype.startswith(("float4", "float6", "int4", "uint")):
        return f"{dtype} has several values in a byte, which are not unpacked"
    return f"the type {dtype} is not understood"
