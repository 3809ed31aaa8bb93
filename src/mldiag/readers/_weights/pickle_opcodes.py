"""A pickle taken apart without importing or calling anything that it names.

The opcodes are interpreted by a machine of our own. Dictionaries, lists, tuples and scalars come out as such; whatever
a pickle would import is a `Global`, whatever it would build by a call is an `Instance` that holds the call. Mappings
are lists of pairs, so that keys are never hashed: a file cannot make that slow.

Source: the comments of `Lib/pickletools.py` in CPython 3.11, which specify every opcode up to protocol 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

MAX_OPCODES = 2_500_000
"""A tensor of a checkpoint costs about 30 opcodes; 2.5 million take about two seconds and, at the worst, 300 MB."""

MAX_COPIED = 64 * 2**20
_ROW = 64  # bytes of a row that is copied
_MAX_MEMO = 2**31
_MAX_NAME = 1_000
_SEQUENCES = frozenset({"builtins.set", "builtins.frozenset", "__builtin__.set", "__builtin__.frozenset",
                        "builtins.list", "__builtin__.list", "collections.deque"})  # fmt: skip
_MAPPINGS = frozenset({"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict",
                       "__builtin__.dict"})  # fmt: skip
PLAIN = _SEQUENCES | _MAPPINGS | {
    "_codecs.encode", "builtins.bytearray", "__builtin__.bytearray", "builtins.object", "__builtin__.object",
    "copy_reg._reconstructor", "copyreg._reconstructor", "builtins.complex", "__builtin__.complex",
    "builtins.slice", "builtins.range", "builtins.bytes", "__builtin__.bytes", "builtins.int", "builtins.float",
    "builtins.str", "builtins.bool", "builtins.tuple", "__builtin__.long", "__builtin__.int", "__builtin__.unicode",
}  # fmt: skip
"""What the machine understands by itself, or what can do no harm."""


class Malformed(ValueError):
    """Bytes that are no pickle, or more than are read."""


class Cut(Malformed):
    """The pickle goes on behind the bytes at hand."""


class Global:
    """What a pickle would import."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Instance:
    """What a pickle would build by a call: `call(*args)`, then `state` set on it and items added."""

    __slots__ = ("args", "call", "items", "state")

    def __init__(self, call: object, args: object) -> None:
        self.call = call
        self.args = args
        self.state: object = None
        self.items = Pairs()

    @property
    def name(self) -> str:
        return self.call.name if isinstance(self.call, Global) else ""


class Persistent:
    """A reference to something outside the pickle, as PyTorch makes them to storages."""

    __slots__ = ("id",)

    def __init__(self, id: object) -> None:  # noqa: A002
        self.id = id


class Pairs:
    """A mapping in the order in which it was filled."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[Any, Any]] | None = None) -> None:
        self.pairs = [] if pairs is None else pairs

    def get(self, wanted: str) -> Any:
        """The last value of a key that is text; None where there is none."""
        return next((v for k, v in reversed(self.pairs) if isinstance(k, str) and k == wanted), None)


_MARK = object()


class Machine:
    """One pickle in `data`, which begins at `at`.

    Attributes:
        at: behind the last opcode that was run.
        globals: names of everything it would import, each once.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.globals: dict[str, Global] = {}
        self._copied = 0

    def run(self, limit: int = MAX_OPCODES) -> Any:
        """The object.

        Raises:
            Cut: the data end before the pickle does.
            Malformed: no pickle, or one of more opcodes than `limit`.
        """
        table, data = _table(), self.data
        try:
            for _ in range(limit):
                opcode = data[self.at]
                self.at += 1
                if opcode == 0x2E:  # STOP
                    return self.stack.pop()
                table[opcode](self)
        except IndexError as error:
            if self.at >= len(data):
                raise Cut("the pickle is cut") from error
            raise Malformed("the pickle takes more from its stack than is there") from error
        except KeyError as error:
            raise Malformed(f"the pickle has an opcode or a reference that does not exist: {_told(error)}") from error
        except (TypeError, AttributeError, struct.error, OverflowError, UnicodeError) as error:
            raise Malformed(f"the pickle is damaged: {_told(error)}") from error
        except Malformed:
            raise
        except ValueError as error:
            raise Malformed(f"the pickle is damaged: {_told(error)}") from error
        raise Malformed(f"the pickle has more than the {limit:,} opcodes that are read")

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size < 0:
            raise Malformed("the pickle has a length below zero")
        end = self.at + size
        if end > len(self.data):
            raise Cut("the pickle is cut")
        found = self.data[self.at : end]
        self.at = end
        return found

    def counted(self, size: int) -> bytes:
        """Bytes behind their length."""
        return self.take(int.from_bytes(self.take(size), "little"))

    def text(self) -> str:
        """The rest of a line."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            self.at = len(self.data)
            raise Cut("the pickle is cut")
        found = self.data[self.at : end]
        self.at = end + 1
        return found.decode("utf-8", "surrogatepass")

    def to_mark(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        stack = self.stack
        for index in range(len(stack) - 1, -1, -1):
            if stack[index] is _MARK:
                found = stack[index + 1 :]
                del stack[index:]
                return found
        raise Malformed("the pickle has no mark where it needs one")

    def keep(self, index: int) -> None:
        if not 0 <= index < _MAX_MEMO:
            raise Malformed("the pickle has a reference that is out of range")
        self.memo[index] = self.stack[-1]

    def imported(self, module: str, name: str = "") -> Global:
        # Two texts of the memo can be put together over and over: what is new is counted, what is not is shared.
        if len(module) + len(name) > _MAX_NAME:
            raise Malformed(f"the pickle imports by a name of {len(module) + len(name):,} characters")
        whole = f"{module}.{name}" if name else module
        found = self.globals.get(whole)
        if found is None:
            self.copy(_ROW + 4 * len(whole))
            found = self.globals[whole] = Global(whole)
        return found

    def called(self, call: object, args: object) -> object:
        """What a call gives: the plain containers as such, everything else as a note of the call."""
        name = call.name if isinstance(call, Global) else ""
        if name in _MAPPINGS:
            first = args[-1] if isinstance(args, tuple) and args else None
            if isinstance(first, Pairs):
                return first
            rows = first if isinstance(first, list) else []
            self.copy(_ROW * len(rows))
            return Pairs([(r[0], r[1]) for r in rows if isinstance(r, list | tuple) and len(r) == 2])
        if name in _SEQUENCES:
            first = args[0] if isinstance(args, tuple) and args else None
            return first if isinstance(first, list | tuple) else []
        if name in ("builtins.bytes", "__builtin__.bytes", "__builtin__.bytes") and args == ():
            return b""
        if name == "_codecs.encode" and isinstance(args, tuple) and args and isinstance(args[0], str):
            self.copy(len(args[0]))
            return args[0].encode("latin-1", "replace")
        if name in ("copy_reg._reconstructor", "copyreg._reconstructor") and isinstance(args, tuple) and args:
            return self.called(args[0], ()) if isinstance(args[0], Global) else Instance(args[0], ())
        return Instance(call, args)

    def copy(self, size: int) -> None:
        """Counts what is copied: the same long list, copied over and over, would fill the memory."""
        self._copied += size
        if self._copied > MAX_COPIED:
            raise Malformed("the pickle copies the same values over and over")

    def set_items(self, target: object, values: list[Any]) -> None:
        target = target.items if isinstance(target, Instance) else target
        if isinstance(target, Pairs):
            target.pairs.extend(zip(values[::2], values[1::2], strict=False))

    def append(self, target: object, values: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Instance):
            target.items.pairs.extend(enumerate(values, len(target.items.pairs)))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Instance):
            target.state = state
        elif isinstance(target, Global):
            # What was imported would be changed for the whole process; no honest file does that.
            self.imported(target.name, "__setstate__")
        # Attributes of a plain mapping (a state dict's `_metadata`) are no part of its content.


def _global(m: Machine) -> None:
    module = m.text()
    m.stack.append(m.imported(module, m.text()))


def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise Malformed("the pickle names something to import by what is no text")
    m.stack.append(m.imported(module, name))


def _reduce(m: Machine) -> None:
    args = m.stack.pop()
    m.stack[-1] = m.called(m.stack[-1], args)


def _new_extended(m: Machine) -> None:
    m.stack.pop()
    _reduce(m)


def _inst(m: Machine) -> None:
    module = m.text()
    call = m.imported(module, m.text())
    m.stack.append(m.called(call, tuple(m.to_mark())))


def _obj(m: Machine) -> None:
    values = m.to_mark()
    m.stack.append(m.called(values[0] if values else None, tuple(values[1:])))


def _int_line(m: Machine) -> None:
    text = m.text()
    m.stack.append({"00": False, "01": True}.get(text) if text in ("00", "01") else int(text))


def _dict_from_mark(m: Machine) -> None:
    values = m.to_mark()
    m.stack.append(Pairs(list(zip(values[::2], values[1::2], strict=False))))


def _set_item(m: Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    m.set_items(m.stack[-1], [key, value])


def _set_items(m: Machine) -> None:
    values = m.to_mark()
    m.set_items(m.stack[-1], values)


def _append(m: Machine) -> None:
    value = m.stack.pop()
    m.append(m.stack[-1], [value])


def _appends(m: Machine) -> None:
    values = m.to_mark()
    m.append(m.stack[-1], values)


def _tuple(m: Machine, size: int) -> None:
    if len(m.stack) < size:
        raise IndexError
    found = tuple(m.stack[-size:])
    m.stack[-size:] = [found]


def _quoted(m: Machine) -> None:
    text = m.text().strip()
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        raise Malformed("the pickle has text without quotes")
    m.stack.append(text[1:-1])


def _put(push: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def run(m: Machine) -> None:
        m.stack.append(push(m))

    return run


def _little(m: Machine, size: int) -> int:
    return int.from_bytes(m.take(size), "little")


def _byte(m: Machine) -> int:
    m.at += 1
    return m.data[m.at - 1]


def _decoded(m: Machine, size: int) -> str:
    data = m.counted(size)
    if len(data) > _MAX_NAME and not data.isascii():
        m.copy(4 * len(data))  # one wide character makes four bytes of each other
    return data.decode("utf-8", "surrogatepass")


def _latin(data: bytes) -> str:
    """Text of Python 2, where text and bytes are one."""
    return data.decode("latin-1")


def _told(error: Exception) -> str:
    """What Python says of a value, which repeats it whole, however long it is."""
    return str(error)[:100]


def _nothing(m: Machine) -> None:
    pass


@cache
def _table() -> dict[int, Callable[[Machine], None]]:
    table: dict[bytes, Callable[[Machine], None]] = {
        b"(": _put(lambda m: _MARK),
        b"0": lambda m: m.stack.pop(),
        b"1": lambda m: (m.to_mark(), None)[1],
        b"2": _put(lambda m: m.stack[-1]),
        b"F": _put(lambda m: float(m.text())),
        b"I": _int_line,
        b"J": _put(lambda m: int.from_bytes(m.take(4), "little", signed=True)),
        b"K": _put(_byte),
        b"M": _put(lambda m: _little(m, 2)),
        b"L": _put(lambda m: int(m.text().removesuffix("L"))),
        b"\x8a": _put(lambda m: int.from_bytes(m.counted(1), "little", signed=True)),
        b"\x8b": _put(lambda m: int.from_bytes(m.counted(4), "little", signed=True)),
        b"N": _put(lambda m: None),
        b"\x88": _put(lambda m: True),
        b"\x89": _put(lambda m: False),
        b"G": _put(lambda m: struct.unpack(">d", m.take(8))[0]),
        b"S": _quoted,
        b"T": _put(lambda m: _latin(m.counted(4))),
        b"U": _put(lambda m: _latin(m.counted(1))),
        b"V": _put(lambda m: m.text()),
        b"X": _put(lambda m: _decoded(m, 4)),
        b"\x8c": _put(lambda m: _decoded(m, 1)),
        b"\x8d": _put(lambda m: _decoded(m, 8)),
        b"B": _put(lambda m: m.counted(4)),
        b"C": _put(lambda m: m.counted(1)),
        b"\x8e": _put(lambda m: m.counted(8)),
        b"\x96": _put(lambda m: m.counted(8)),
        b"\x97": _put(lambda m: Persistent(None)),
        b"\x98": _nothing,
        b"]": _put(lambda m: []),
        b"l": _put(lambda m: m.to_mark()),
        b"a": _append,
        b"e": _appends,
        b")": _put(lambda m: ()),
        b"t": _put(lambda m: tuple(m.to_mark())),
        b"\x85": lambda m: _tuple(m, 1),
        b"\x86": lambda m: _tuple(m, 2),
        b"\x87": lambda m: _tuple(m, 3),
        b"}": _put(lambda m: Pairs()),
        b"d": _dict_from_mark,
        b"s": _set_item,
        b"u": _set_items,
        b"\x8f": _put(lambda m: []),
        b"\x90": _appends,
        b"\x91": _put(lambda m: m.to_mark()),
        b"p": lambda m: m.keep(int(m.text())),
        b"q": lambda m: m.keep(_byte(m)),
        b"r": lambda m: m.keep(_little(m, 4)),
        b"\x94": lambda m: m.keep(len(m.memo)),
        b"g": _put(lambda m: m.memo[int(m.text())]),
        b"h": _put(lambda m: m.memo[_byte(m)]),
        b"j": _put(lambda m: m.memo[_little(m, 4)]),
        b"\x82": _put(lambda m: m.imported(f"extension {_little(m, 1)}")),
        b"\x83": _put(lambda m: m.imported(f"extension {_little(m, 2)}")),
        b"\x84": _put(lambda m: m.imported(f"extension {_little(m, 4)}")),
        b"c": _global,
        b"\x93": _stack_global,
        b"R": _reduce,
        b"b": lambda m: m.build(),
        b"i": _inst,
        b"o": _obj,
        b"\x81": _reduce,
        b"\x92": _new_extended,
        b"P": _put(lambda m: Persistent(m.text())),
        b"Q": _put(lambda m: Persistent(m.stack.pop())),
        b"\x80": lambda m: (m.take(1), None)[1],
        b"\x95": lambda m: (m.take(8), None)[1],
    }
    return {code[0]: run for code, run in table.items()}
