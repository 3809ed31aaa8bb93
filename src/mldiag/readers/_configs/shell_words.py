"""What the words of a shell command are once the variables that the script itself assigns are put in.

Nothing is run. A variable counts as known where the script assigns it exactly once, on a path that every run takes
before the use; `NAME+=...` behind such an assignment is followed too. Everything else (`$1`, `$(date)`, loop variables,
variables assigned twice or under a condition, the environment) is only known when the script runs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from mldiag.patterns import lazily

if TYPE_CHECKING:
    from tree_sitter import Node

_TEXT_LIMIT = 65_536  # characters of one expanded value; more is no setting
_PIECE_LIMIT = 1_000  # parts of one expanded value
_DEPTH_LIMIT = 24  # variables inside variables, quotes inside expansions
_ASSIGNMENT_LIMIT = 100  # assignments and appendings of one variable
_NEST_LIMIT = 400  # nested blocks of a script
_ELEMENT_LIMIT = 100_000  # elements that all uses of arrays together give

# Commands in these run in a branch, a loop, a function or a process of their own.
_BLOCKS = frozenset({"do_group", "elif_clause", "else_clause", "case_item", "function_definition", "subshell",
                     "command_substitution", "process_substitution"})  # fmt: skip
_VARIABLES = frozenset({"simple_expansion", "expansion"})
_UNKNOWN = frozenset({"command_substitution", "arithmetic_expansion", "process_substitution", "brace_expression"})
_READS_INTO = frozenset({"read", "getopts", "mapfile", "readarray", "let", "printf"})
_OPERATOR = lazily(r"[|;]|\d?>|&>|&&?$|<")  # ends a command that is put together as text
_CONTINUED = lazily(rb"\\\r?\n")
_ARITHMETIC = lazily(rb"([A-Za-z_]\w*)\s*(?:[-+*/%]?=(?!=)|\+\+|--)")
_ESCAPE = lazily(rb"\\(\r\n|[\x00-\x7f]|[\xc0-\xff][\x80-\xbf]*)")
_ESCAPE_IN_QUOTES = lazily(rb"\\(\r\n|[\n\"$`\\])")


class Piece(Struct, frozen=True):
    """A part of a word.

    Attributes:
        text: what it expands to; None where only the running script knows.
        start, end: where that text is written: at a variable's assignment where there is one.
        at, at_end: where the part stands in the command.
        quotes: the quoted string that it stands in within the command.
        exact: the text is written as it is, without escapes.
        maybe: added only on some paths through the script.
        written: how an unknown part is written.
    """

    text: str | None
    start: int
    end: int
    at: int
    at_end: int
    quotes: tuple[int, int] | None = None
    variables: tuple[str, ...] = ()
    exact: bool = True
    maybe: bool = False
    written: str = ""


class Word(Struct, frozen=True):
    """One word of a command; `start` and `end` are where it stands in the command."""

    pieces: tuple[Piece, ...]
    start: int
    end: int

    @property
    def text(self) -> str | None:
        """What the program gets, or None where only the running script knows."""
        if any(p.text is None for p in self.pieces):
            return None
        return "".join(p.text or "" for p in self.pieces)

    @property
    def known(self) -> str:
        """The text up to the first part that is not known."""
        text = ""
        for piece in self.pieces:
            if piece.text is None:
                break
            text += piece.text
        return text

    @property
    def shown(self) -> str:
        """The text, with what is not known as it is written."""
        return "".join(p.written if p.text is None else p.text for p in self.pieces)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(v for p in self.pieces for v in p.variables))

    @property
    def maybe(self) -> bool:
        return any(p.maybe for p in self.pieces)

    @property
    def span(self) -> tuple[int, int]:
        """Where the text is written: inside its quotes, or at the assignment of the variable that it comes from."""
        if not self.pieces:
            return self.start, self.end
        first, last = self.pieces[0], self.pieces[-1]
        if all(a.end == b.start for a, b in zip(self.pieces, self.pieces[1:], strict=False)):
            return first.start, last.end
        if first.quotes == last.quotes:
            return first.at, last.at_end
        return (first.quotes[0] if first.quotes else first.at), (last.quotes[1] if last.quotes else last.at_end)

    def behind(self, count: int) -> Word:
        """The word without its first `count` characters, all of which are known."""
        rest: list[Piece] = []
        for piece in self.pieces:
            length = len(piece.text or "")
            if count <= 0:
                rest.append(piece)
            elif length > count:
                cut = len((piece.text or "")[:count].encode())
                here = piece.start == piece.at
                start = piece.start + cut if piece.exact else piece.start
                at = piece.at + cut if here and piece.exact else piece.at
                rest.append(replace(piece, text=(piece.text or "")[count:], start=start, at=at))
            count -= length
        return Word(tuple(rest), rest[0].at if rest else self.end, self.end)


class Command(Struct, frozen=True):
    """A simple command of the script.

    Attributes:
        start, end: from the first assignment that is made for it alone, or its name, to its last argument.
        prefix: those assignments.
        block: the block it stands in.
        further: arguments that follow a redirection.
    """

    node: Node
    start: int
    end: int
    prefix: tuple[Node, ...]
    block: int
    further: tuple[Node, ...] = ()


class _Assignment(Struct, frozen=True):
    """`value` is None for an empty value; `unknown` where the value is not written in the script."""

    start: int
    end: int
    block: int
    value: Node | None = None
    append: bool = False
    unknown: bool = False


class _Place(NamedTuple):
    """Where something is expanded.

    Attributes:
        quotes: the quoted string around it. `splits`: blanks begin new words. `depth`: of nesting.
        own: the variable that is being put together, whose earlier value is there already.
    """

    block: int
    quotes: tuple[int, int] | None = None
    splits: bool = True
    depth: int = 0
    own: str = ""

    def inside(self, quotes: tuple[int, int]) -> _Place:
        return self._replace(quotes=quotes, splits=False, depth=self.depth + 1)


class Script:
    """The commands and variables of a parsed script.

    Attributes:
        commands: the simple commands, in the order of the script.
        references: how often each variable is used, other than in its own assignment.
        cut: blocks were nested deeper than is followed.
    """

    def __init__(self, root: Node, data: bytes) -> None:
        self.data = data
        self.commands: list[Command] = []
        self.references: Counter[str] = Counter()
        self.cut = False
        self._exported: dict[str, int] = {}
        self._for_one: set[int] = set()
        self._assigned: dict[str, list[_Assignment]] = {}
        self._parents = [-1]
        self._functions: set[int] = set()
        self._values: dict[tuple[str, int, int], tuple[Piece, ...] | None] = {}
        self._elements = 0
        stack: list[tuple[Node, Node | None, int, str, int]] = [(root, None, 0, "", 0)]
        while stack:
            node, parent, block, own, depth = stack.pop()
            if depth > _NEST_LIMIT:
                self.cut = True
                continue
            own = self._note(node, parent, block, own)
            children = node.children
            inner = self._blocks(node, block, children)
            for child, where in zip(reversed(children), reversed(inner), strict=True):
                stack.append((child, node, where, own, depth + 1))

    def words(self, command: Command) -> list[Word]:
        """The words of a command: its name and its arguments."""
        words: list[Word] = []
        for child in (*command.node.children, *command.further):
            if child.type == "command_name":
                child = child.children[0]
            if child.is_named and child.type != "variable_assignment" and "redirect" not in child.type:
                words += self._words(child, command.block)
        if not words or words[0].text != "eval":
            return words
        fields: list[list[Piece]] = []
        for word in words:
            fields.append([])
            for piece in word.pieces:
                _split(fields, piece)
        again = [Word(tuple(f), f[0].at, f[-1].at_end) for f in fields if f]
        end = next((i for i, w in enumerate(again) if _OPERATOR.match(w.known)), len(again))
        return again[:end]

    def environment(self, command: Command) -> dict[str, Word]:
        """What the command's own prefix and earlier exports set, where it is known."""
        found: dict[str, Word | None] = {}
        at = command.start
        for name, offset in self._exported.items():
            if offset < at:
                pieces = self._value(name, at, command.block, 0)
                found[name] = None if pieces is None else Word(pieces, at, at)
        for child in command.prefix:
            value = child.child_by_field_name("value")
            fields: list[list[Piece]] = [[]]
            if value is not None:
                self._add(fields, value, _Place(command.block, splits=False))
            found[_assigned_name(child)] = Word(tuple(fields[-1]), at, at)
        return {name: word for name, word in found.items() if word is not None and word.text is not None}

    # What the walk notes.

    def _note(self, node: Node, parent: Node | None, block: int, own: str) -> str:
        """Notes what one node says; returns the variable whose assignment it is part of."""
        kind = node.type
        if kind == "command":
            prefix = self._prefix(node)
            head = prefix[0] if prefix else node.child_by_field_name("name")
            start = (head or node).start_byte
            further = _behind_redirections(parent)
            words = [c for c in node.children if c.is_named and "redirect" not in c.type]
            end = max((c.end_byte for c in (*words, *further)), default=node.end_byte)
            self.commands.append(Command(node, start, end, prefix, block, further))
            self._note_builtin(node, block)
        elif kind == "variable_assignment":
            name = _assigned_name(node)
            if parent is None or parent.type != "command" or node.start_byte not in self._for_one:
                self._note_assignment(node, name, block)
            return name or own
        elif kind in ("for_statement", "select_statement"):
            self._assign(_first_name(node), _Assignment(node.start_byte, node.start_byte, block, unknown=True))
        elif kind == "unset_command":
            for child in node.named_children:
                self._assign(_text(child), _Assignment(node.start_byte, node.end_byte, block, unknown=True))
        elif kind == "declaration_command" and node.children and node.children[0].type == "export":
            for child in node.named_children:
                name = _assigned_name(child) if child.type == "variable_assignment" else _text(child)
                self._exported.setdefault(name, node.start_byte)
        elif kind in ("simple_expansion", "expansion"):
            self._note_use(node, block, own)
        elif kind == "variable_name" and parent is not None and parent.type.endswith("_expression"):
            self.references[_text(node)] += 1
        elif kind == "compound_statement" and node.children and node.children[0].type == "((":
            for found in _ARITHMETIC.findall(node.text or b""):
                self._assign(found.decode(), _Assignment(node.start_byte, node.end_byte, block, unknown=True))
        return own

    def _prefix(self, node: Node) -> tuple[Node, ...]:
        """The assignments that are made for one command alone.

        The grammar also counts those of a line before it (`A=1 B=2`, then a command on the next line) to the command.
        """
        children = node.children
        end = next((i for i, c in enumerate(children) if c.type == "command_name"), 0)
        first = 0
        for index in range(end):
            gap = self.data[children[index].end_byte : children[index + 1].start_byte]
            if b"\n" in _CONTINUED.sub(b"", gap):
                first = index + 1
        found = tuple(c for c in children[first:end] if c.type == "variable_assignment")
        self._for_one.update(c.start_byte for c in found)
        return found

    def _note_assignment(self, node: Node, name: str, block: int) -> None:
        value = node.child_by_field_name("value")
        append = any(c.type == "+=" for c in node.children)
        indexed = node.children[0].type == "subscript"
        self._assign(name, _Assignment(node.start_byte, node.end_byte, block, value, append, unknown=indexed))

    def _note_builtin(self, node: Node, block: int) -> None:
        name = node.child_by_field_name("name")
        if name is None or _text(name) not in _READS_INTO:
            return
        texts = [_text(c) for c in node.named_children[1:]]
        if _text(name) == "printf":
            texts = texts[1:2] if texts[:1] == ["-v"] else []
        for text in texts:
            word = text.split("=")[0]
            if word.isidentifier():
                self._assign(word, _Assignment(node.start_byte, node.end_byte, block, unknown=True))

    def _note_use(self, node: Node, block: int, own: str) -> None:
        name = _first_name(node)
        if name and name != own:
            self.references[name] += 1
        elif name and len(node.children) == (2 if node.type == "simple_expansion" else 3) and self._assigned.get(name):
            # `OPTS="$OPTS --more"` appends, as `OPTS+=" --more"` does.
            self._assigned[name][-1] = replace(self._assigned[name][-1], append=True)
        operator = next((c for c in node.children if c.type in (":=", "=")), None)
        if operator is not None:
            default = node.children[-2] if node.children[-2].start_byte >= operator.end_byte else None
            self._assign(name, _Assignment(node.start_byte, node.end_byte, block, default))

    def _assign(self, name: str, assignment: _Assignment) -> None:
        if name:
            self._assigned.setdefault(name, []).append(assignment)

    def _blocks(self, node: Node, block: int, children: Sequence[Node]) -> list[int]:
        """The block of each child: a new one where it need not run, or runs in a process of its own."""
        if node.type in _BLOCKS:
            return [self._new_block(block, function=node.type == "function_definition")] * len(children)
        if node.type == "if_statement":
            then = next((i for i, c in enumerate(children) if c.type == "then"), len(children))
            inner = self._new_block(block)
            clauses = ("elif_clause", "else_clause")
            return [block if i <= then or c.type in clauses else inner for i, c in enumerate(children)]
        if node.type == "list" and len(children) > 1:
            return [block, *[self._new_block(block)] * (len(children) - 1)]
        if node.type == "pipeline":
            return [self._new_block(block) if c.is_named else block for c in children]
        return [block] * len(children)

    def _new_block(self, parent: int, *, function: bool = False) -> int:
        self._parents.append(parent)
        if function:
            self._functions.add(len(self._parents) - 1)
        return len(self._parents) - 1

    # What a word expands to.

    def _words(self, node: Node, block: int, depth: int = 0) -> list[Word]:
        fields: list[list[Piece]] = [[]]
        self._add(fields, node, _Place(block, depth=depth))
        found = [f for f in fields if f]
        if len(found) == 1:
            return [Word(tuple(found[0]), node.start_byte, node.end_byte)]
        return [Word(tuple(f), f[0].at, f[-1].at_end) for f in found]

    def _add(self, fields: list[list[Piece]], node: Node, place: _Place) -> None:
        """Appends what a node expands to; an unquoted expansion may begin new words."""
        kind, start, end = node.type, node.start_byte, node.end_byte
        if place.depth > _DEPTH_LIMIT or kind in _UNKNOWN:
            fields[-1].append(self._unknown(start, end, place))
        elif kind == "string":
            self._add_string(fields, node, place)
        elif kind == "raw_string":
            fields[-1].append(self._written(start + 1, end - 1, (start, end)))
        elif kind == "ansi_c_string":
            piece = self._written(start + 2, end - 1, (start, end))
            fields[-1].append(replace(piece, text=None) if "\\" in (piece.text or "") else piece)
        elif kind in ("concatenation", "translated_string"):
            at = start
            for child in node.children:
                fields[-1] += self._unescaped(at, child.start_byte, place.quotes)
                if child.type != "$" or kind == "concatenation":
                    self._add(fields, child, place._replace(depth=place.depth + 1))
                at = child.end_byte
        elif kind in _VARIABLES:
            self._add_expansion(fields, node, place)
        else:
            fields[-1] += self._unescaped(start, end, None)

    def _add_string(self, fields: list[list[Piece]], node: Node, place: _Place) -> None:
        quotes = (node.start_byte, node.end_byte)
        at, close = node.start_byte + 1, node.end_byte - 1
        inner = [c for c in node.children if c.type in _VARIABLES or c.type in _UNKNOWN]
        if at == close:
            fields[-1].append(Piece("", at, at, at, at, quotes))
        elif len(inner) == 1 and (inner[0].start_byte, inner[0].end_byte) == (at, close):
            array = _array_name(inner[0])
            if array is not None:
                self._add_array(fields, inner[0], array, place)
                return
        for child in inner:
            fields[-1] += self._unescaped(at, child.start_byte, quotes)
            self._add(fields, child, place.inside(quotes))
            at = child.end_byte
        fields[-1] += self._unescaped(at, close, quotes)

    def _add_expansion(self, fields: list[list[Piece]], node: Node, place: _Place) -> None:
        start, end = node.start_byte, node.end_byte
        array, name = _array_name(node), _first_name(node)
        if array is not None and place.splits:
            self._add_array(fields, node, array, place)
            return
        if name in ("@", "*", place.own):  # the script's own arguments, of which there may be none
            return
        pieces = self._expanded(node, place)
        if pieces is None:
            fields[-1].append(replace(self._unknown(start, end, place), variables=(name,)))
            return
        for piece in pieces:
            placed = replace(piece, at=start, at_end=end, quotes=place.quotes)
            if place.splits:
                _split(fields, placed)
            else:
                fields[-1].append(placed)

    def _expanded(self, node: Node, place: _Place) -> tuple[Piece, ...] | None:
        """What `$NAME`, `${NAME}` or `${NAME:-default}` stands for; None where only the running script knows."""
        inner = node.children[1:-1] if node.type == "expansion" else node.children[1:]
        if not inner or inner[0].type != "variable_name":
            return None
        name, operator = _text(inner[0]), inner[1].type if len(inner) > 1 else ""
        if operator not in ("", ":-", "-", ":=", "=", ":?", "?"):
            return None
        assigned = any(not a.start <= node.start_byte < a.end for a in self._assigned.get(name, ()))
        value = self._value(name, node.start_byte, place.block, place.depth)
        if value is not None:
            value = tuple(replace(p, variables=(name, *p.variables)) for p in value)
        empty = value is not None and operator == ":-" and not any(p.text is None or p.text for p in value)
        if operator in ("", ":?", "?") or (assigned and not empty):
            return value
        fields: list[list[Piece]] = [[]]
        at = inner[1].end_byte
        for child in inner[2:]:
            fields[-1] += self._unescaped(at, child.start_byte, None)
            self._add(fields, child, place.inside((node.start_byte, node.end_byte)))
            at = child.end_byte
        fields[-1] += self._unescaped(at, node.end_byte - 1, None)
        return tuple(fields[-1])

    def _value(self, name: str, at: int, block: int, depth: int) -> tuple[Piece, ...] | None:
        """The value of a variable at a place, or None."""
        chain = self._reaching(name, at, block)
        if chain is None or depth > _DEPTH_LIMIT:
            return None
        key = (name, chain[0][0].start, len(chain))
        if key not in self._values:
            self._values[key] = None  # a variable that is defined by itself
            self._values[key] = self._evaluated(name, chain, depth)
        return self._values[key]

    def _evaluated(self, name: str, chain: Sequence[tuple[_Assignment, bool]], depth: int) -> tuple[Piece, ...] | None:
        fields: list[list[Piece]] = [[]]
        for assignment, maybe in chain:
            before = len(fields[-1])
            if assignment.value is not None:
                if assignment.value.type == "array":
                    return None
                own = name if assignment.append else ""
                self._add(fields, assignment.value, _Place(assignment.block, None, False, depth + 1, own))
            if maybe:
                fields[-1][before:] = [replace(p, maybe=True) for p in fields[-1][before:]]
        pieces = fields[-1]
        if len(pieces) > _PIECE_LIMIT or sum(len(p.text or "") for p in pieces) > _TEXT_LIMIT:
            return None
        return tuple(pieces)

    def _add_array(self, fields: list[list[Piece]], node: Node, name: str, place: _Place) -> None:
        start, end = node.start_byte, node.end_byte
        for assignment, maybe in self._reaching(name, start, place.block) or ():
            for element in assignment.value.named_children if assignment.value is not None else ():
                if element.type == "comment":
                    continue
                # An array that holds itself twice, again and again, would fill the memory.
                if self._elements > _ELEMENT_LIMIT:
                    fields[-1].append(self._unknown(start, end, place))
                    return
                for word in self._words(element, assignment.block, place.depth + 1):
                    self._elements += 1
                    pieces = [
                        replace(p, at=start, at_end=end, variables=(name, *p.variables), maybe=p.maybe or maybe)
                        for p in word.pieces
                    ]
                    fields += [pieces, []]

    def _reaching(self, name: str, at: int, block: int) -> list[tuple[_Assignment, bool]] | None:
        """The one assignment whose value a use sees, and what is appended to it (True: only on some paths)."""
        every = self._assigned.get(name, [])
        if len(every) > _ASSIGNMENT_LIMIT:
            return None
        found = [a for a in every if not a.start <= at < a.end]
        plain = [a for a in found if not a.append]
        if len(plain) != 1 or any(a.unknown for a in found):
            return None
        called_later = self._in_function(block, plain[0].block)
        if called_later is None or not (called_later or plain[0].start < at):
            return None
        chain = [(plain[0], False)]
        for extra in found:
            if extra.append:
                passed = self._in_function(block, extra.block)
                if extra.start < plain[0].start or (extra.start > at and (called_later or passed is None)):
                    return None
                if extra.start < at:
                    chain.append((extra, passed is None))
        return chain

    def _in_function(self, block: int, outer: int) -> bool | None:
        """None where `block` does not lie in `outer`; else whether a function begins between the two."""
        function = False
        while block != outer:
            if block < 0:
                return None
            function = function or block in self._functions
            block = self._parents[block]
        return function

    def _unknown(self, start: int, end: int, place: _Place) -> Piece:
        written = self.data[start:end].decode(errors="replace")
        return Piece(None, start, end, start, end, place.quotes, written=written)

    def _written(self, start: int, end: int, quotes: tuple[int, int] | None) -> Piece:
        return Piece(self.data[start:end].decode(errors="replace"), start, end, start, end, quotes)

    def _unescaped(self, start: int, end: int, quotes: tuple[int, int] | None) -> Iterator[Piece]:
        """Literal text, cut at backslashes so that every part knows its place."""
        at = start
        for match in (
            _ESCAPE_IN_QUOTES.finditer(self.data, start, end) if quotes else _ESCAPE.finditer(self.data, start, end)
        ):
            back, stop = match.span()
            if back > at:
                yield self._written(at, back, quotes)
            text = match[1].decode(errors="replace").strip("\r\n")
            yield Piece(text, back, stop, back, stop, quotes, exact=False)
            at = stop
        if end > at:
            yield self._written(at, end, quotes)


def _behind_redirections(parent: Node | None) -> tuple[Node, ...]:
    """Arguments written behind a redirection (`python a.py > log --lr 1`), which the grammar counts to it."""
    if parent is None or parent.type != "redirected_statement":
        return ()
    redirections = [c for c in parent.children if c.type == "file_redirect"]
    return tuple(n for r in redirections for n in r.children_by_field_name("destination")[1:])


def _split(fields: list[list[Piece]], piece: Piece) -> None:
    """Appends what an unquoted expansion gave, a new word at every blank."""
    if piece.text is None or not piece.exact:
        if piece.text != "":
            fields[-1].append(piece)
        return
    offset = piece.start
    for part in re.split(r"(\s+)", piece.text):
        width = len(part.encode())
        if part.isspace():
            if fields[-1]:
                fields.append([])
        elif part:
            fields[-1].append(replace(piece, text=part, start=offset, end=offset + width))
        offset += width


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")


def _assigned_name(node: Node) -> str:
    name = node.child_by_field_name("name")
    if name is None:
        return ""
    return _first_name(name) if name.type == "subscript" else _text(name)


def _first_name(node: Node) -> str:
    """The variable that a node uses: of an expansion, a subscript or the head of a loop."""
    for child in node.children:
        if child.type in ("variable_name", "special_variable_name"):
            return _text(child)
        if child.type == "subscript":
            return _first_name(child)
    return ""


def _array_name(node: Node) -> str | None:
    """The array of `${NAME[@]}` or `${NAME[*]}`."""
    if node.type != "expansion" or len(node.children) != 3 or node.children[1].type != "subscript":
        return None
    index = node.children[1].child_by_field_name("index")
    return _first_name(node) if index is not None and _text(index) in ("@", "*") else None
