"""What stored shapes prove of a model: vocabulary, positions, width, depth; and what tokenizer and token files say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mldiag.artifacts import Role, SettingValue, Source
from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.patterns import lazily
from mldiag.tokens import TokenFile, Tokenizer

TOKEN_TABLES = frozenset({
    "wte", "tok_emb", "tok_embed", "tok_embedding", "tok_embeddings", "token_emb", "token_embed", "token_embd",
    "token_embedding", "token_embeddings", "token_embedding_table", "word_embeddings", "word_embedding", "word_emb",
    "word_embed", "embed_tokens", "embed_in", "embed_token", "tok", "shared", "tokens_embed",
})  # fmt: skip
"""What a table of tokens is called: nanoGPT and GPT-2, BERT, LLaMA, GPT-NeoX, T5 and BART, GGUF, hand-written ones."""

_PLAIN_TABLES = frozenset({"emb", "embed", "embedding", "embeddings", "encoder_embedding", "input_embedding"})
"""Of a table with such a name only an output of as many rows shows that it holds tokens."""

POSITION_TABLES = frozenset({
    "wpe", "position_embeddings", "position_embedding", "pos_emb", "pos_embed", "pos_embedding", "pos_embeddings",
    "positional_embedding", "positional_embeddings", "embed_positions", "position_embedding_table", "position_embed",
    "position_embd", "posemb", "pos", "positions_embed",
})  # fmt: skip

OUTPUTS = frozenset({
    "lm_head", "output", "head", "decoder", "embed_out", "fc_out", "to_logits", "out_proj", "output_projection", "proj",
    "unembed", "generator", "fc", "linear", "out",
})  # fmt: skip
"""What the matrix in front of the softmax is called; it is one only if it is as wide as the token table."""
_SURE_OUTPUTS = frozenset({"lm_head", "embed_out", "to_logits", "output_projection", "unembed"})

_PARAMETERS = frozenset({"weight", "kernel", "w", "vars", "0", "embeddings", "embedding", "param", "value", "var"})
_STACK = lazily(
    r"(?P<stack>(?:.*[./])?(?:layers?|h|blocks?|blk|resblocks|transformer_blocks|decoder_layers|encoder_layers))"
    r"[._/](?P<at>\d+)[./](?P<rest>.+)"
)
_ATTENTION = lazily(r"att(?:n|ention)?(?![a-z])|self_att|selfattention")
_NORM = lazily(r"(?:^|[._/])(?:ln|norm|layernorm|layer_norm|rms)[\w]*[./]", re.IGNORECASE)
# A part of a model that several processes share: what it holds proves nothing of the whole.
_PART = lazily(
    r"(?:.*[/_])?(?:mp_rank|tp_rank|pp_rank|consolidated\.\d|zero_pp|.*-\d{5}-of-\d{5}|shard)", re.IGNORECASE
)
_FLOATS = ("float", "bfloat", "f16", "f32", "bf16", "q", "half", "double")
_ADAPTERS = ("lora_", "adapter", "prefix_encoder")
_OF_ANOTHER = frozenset({"teacher", "ref", "reference", "critic", "target", "vision", "visual", "image", "audio"})


def from_checkpoints(checkpoints: Iterable[Checkpoint]) -> Iterator[SettingValue]:
    """Settings that the shapes of stored tensors prove, each with the tensor as its key.

    `vocab_size` is the rows of the token table and, where it is a matrix of its own, of the output; `max_positions` the
    rows of the position table; `num_layers` the blocks with attention; `d_model` the width of the token table, where
    the blocks are normalised over as many. Of a part of a model, an adapter or a second model nothing is said, nor of
    a size of which one checkpoint has several.
    """
    for found in checkpoints:
        names = "\n".join(t.name for t in found.tensors)
        if not _PART.match(found.path) and not any(word in names for word in _ADAPTERS):
            yield from _proven(found)


def from_tokens(tokenizers: Iterable[Tokenizer], files: Iterable[TokenFile]) -> Iterator[SettingValue]:
    """The sizes of vocabularies and the ids that were seen in token files, under names of their own."""
    for tokenizer in tokenizers:
        yield _said("tokenizer.vocab_size", tokenizer.size, tokenizer.source)
        if tokenizer.largest_id is not None:
            yield _said("tokenizer.largest_id", tokenizer.largest_id, tokenizer.source)
    for file in files:
        yield _said("token_file.tokens", file.count, file.source)
        if file.largest_seen is not None:
            yield _said("token_file.largest_id_seen", file.largest_seen, file.source)


def _said(name: str, value: int, at: Source) -> SettingValue:
    return SettingValue(name, value, Role.FILE, Source(at.path, at.line, key=name), record=True)


def table_name(tensor: str) -> str:
    """The part of a tensor's name that says which table it is: `model/transformer.wte.weight` gives `wte`."""
    parts = [p for p in re.split(r"[./:]", tensor.lower()) if p]
    while len(parts) > 1 and parts[-1] in _PARAMETERS:
        parts.pop()
    return parts[-1] if parts else ""


def _proven(found: Checkpoint) -> Iterator[SettingValue]:
    tables: list[Tensor] = []
    plain: list[Tensor] = []
    positions: list[Tensor] = []
    outputs: list[Tensor] = []
    stacks: dict[str, dict[int, bool]] = {}
    widths: set[int] = set()
    for tensor in found.tensors:
        name = tensor.name
        if block := _STACK.fullmatch(name):
            stack, at, rest = block.group("stack", "at", "rest")
            if stack not in stacks:
                stacks[stack] = {}
            of, number = stacks[stack], int(at)
            if not of.get(number):
                of[number] = _ATTENTION.search(rest.lower()) is not None
            if len(tensor.shape) == 1 and _NORM.search(rest):
                widths.add(tensor.shape[0])
            continue
        if _is_of_another(name):
            continue
        rows = tensor.shape[1:] if len(tensor.shape) == 3 and tensor.shape[0] == 1 else tensor.shape
        if len(rows) != 2 or min(rows) < 1 or not tensor.dtype.startswith(_FLOATS):
            continue
        called = table_name(name)
        if called in POSITION_TABLES:
            positions.append(tensor)
        elif called in TOKEN_TABLES and len(tensor.shape) == 2:
            tables.append(tensor)
        elif called in _PLAIN_TABLES and len(tensor.shape) == 2:
            plain.append(tensor)
        elif called in OUTPUTS and len(tensor.shape) == 2:
            outputs.append(tensor)
    yield from _tables(found, tables, plain, outputs)
    if len({t.shape[-2] for t in positions}) == 1:
        yield _shape("max_positions", positions[0].shape[-2], found, positions[0])
    stacks = {name: blocks for name, blocks in stacks.items() if not _is_of_another(name)}
    attending = {name: blocks for name, blocks in stacks.items() if all(blocks.values())}
    if len(stacks) == len(attending) == 1 and not any("eh_proj" in t.name for t in found.tensors):
        (name, blocks), *_ = attending.items()
        if set(blocks) == set(range(len(blocks))):
            yield SettingValue("num_layers", len(blocks), Role.CHECKPOINT, Source(found.path, key=name), record=True)
    width = {t.shape[1] for t in tables}
    if len(width) == 1 and width <= widths:
        yield _shape("d_model", tables[0].shape[1], found, tables[0])


def _is_of_another(name: str) -> bool:
    return any(word in _OF_ANOTHER for word in re.split(r"[^a-z]+", name.lower()))


def _tables(
    found: Checkpoint, tables: list[Tensor], plain: list[Tensor], outputs: list[Tensor]
) -> Iterator[SettingValue]:
    """Rows of the token table and of the output."""
    if not tables and len(plain) == 1 and any(plain[0].shape in (o.shape, o.shape[::-1]) for o in outputs):
        tables.append(plain[0])
    if len({t.shape for t in tables}) != 1:
        return
    rows, width = tables[0].shape
    yield _shape("vocab_size", rows, found, tables[0])
    for output in outputs:
        # Other heads (a classifier, a value) stand on the same width; only one's name shows that it predicts tokens.
        named = table_name(output.name) in _SURE_OUTPUTS
        if width in output.shape and (named or rows in output.shape) and output.shape != (width, width):
            high = output.shape[1] if output.shape[0] == width else output.shape[0]
            yield _shape("vocab_size", high, found, output)
            return


def _shape(name: str, value: int, found: Checkpoint, tensor: Tensor) -> SettingValue:
    return SettingValue(name, value, Role.CHECKPOINT, Source(found.path, key=tensor.name), record=True)
