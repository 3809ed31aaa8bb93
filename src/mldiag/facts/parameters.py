"""How many parameters a language model has, from its dimensions."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from mldiag.artifacts import Program, Settings, SettingValue, Source, as_count, as_number
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.plan import Amount, stated
from mldiag.facts.positions import Positions, without_table

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
# Families of the Hugging Face hub whose feed-forward block has three matrices and whose positions are rotary.
_GATED = frozenset({
    "llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "olmo", "olmo2", "stablelm",
    "granite", "cohere", "smollm3",
})  # fmt: skip
_NOT_A_STACK = ("encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers", "num_experts",
                "num_local_experts", "bidirectional")  # fmt: skip

WIDTH_STEP = 32
"""Widths that are proposed are multiples of it: half the usual head dimension of 64 (Vaswani et al. 2017)."""


class Parameters(Struct, frozen=True):
    """Weights of a language model.

    A Transformer counts `L·(4·d² + 2·d·d_ff) + vocab·d [+ vocab·d] + positions·d`: attention with four square
    projections, a feed-forward block of two matrices (three where it is gated), token table, output matrix where it is
    not tied to the token table, and position table; biases and norms are left out (below 1 % from a width of 100 on;
    `small` has them). A recurrent model counts `Σ gates·(in·h + h² + h) + vocab·e [+ vocab·h] + vocab`.

    Attributes:
        kind: `Transformer`, `LSTM`, `GRU` or `RNN`.
        core: the layers alone.
        tokens, output, positions: the three tables, each in weights.
        small: biases and norms that the Transformer formula leaves out.
        tied: whether output and token table are one matrix; None where nothing says.
        sizes: the dimensions used, by name.
        assumed: what had to be assumed; empty where the architecture is fully known.
    """

    kind: str
    core: float
    tokens: float
    output: float
    positions: float
    small: float
    tied: bool | None
    sizes: Mapping[str, float]
    assumed: tuple[str, ...] = ()
    source: Source | None = None
    places: Mapping[str, Source | None] = field(default_factory=dict)

    @property
    def count_tied(self) -> float:
        """All weights when the output matrix is the token table."""
        return self.core + self.tokens + self.positions

    @property
    def count_untied(self) -> float:
        """All weights when the output matrix is one of its own."""
        return self.count_tied + self.output

    @property
    def count(self) -> float:
        """The proven count; the tied one, which is the smaller, where nothing says which it is."""
        return self.count_untied if self.tied is False else self.count_tied

    @property
    def readings(self) -> Mapping[str, float]:
        """What a stated count may mean, by name: some programs leave the tables out (Kaplan et al. 2020, nanoGPT)."""
        counts = {
            "tied": self.count_tied,
            "untied": self.count_untied,
            "tied, without positions": self.count_tied - self.positions,
            "untied, without positions": self.count_untied - self.positions,
            "without embeddings": self.core,
        }
        return counts | {f"{name}, with biases and norms": n + self.small for name, n in counts.items()}

    def within(self, most: float) -> tuple[int, int, float] | None:
        """The largest Transformer of this shape with at most `most` weights: width, layers, tied count.

        Widths are multiples of `WIDTH_STEP` up to the present one, layers at most the present ones; vocabulary,
        positions and the ratio of d_ff to width stay. None for other models and where even the smallest is too large.
        """
        if self.kind != "Transformer":
            return None
        width, layers = self.sizes["d_model"], self.sizes["num_layers"]
        best: tuple[int, int, float] | None = None
        for d in range(WIDTH_STEP, int(width) + 1, WIDTH_STEP):
            for n in range(1, int(layers) + 1):
                count = self.core * (n / layers) * (d / width) ** 2 + (self.tokens + self.positions) * d / width
                if count <= most and (best is None or count > best[2]):
                    best = (d, n, count)
        return best


@fact
def parameters(settings: Settings, program: Program | None, positions: Positions | None) -> Parameters:
    """Counts a Transformer or a recurrent language model; other models have no formula here."""
    for name in _NOT_A_STACK:
        if settings.get(name) not in (None, False, 0):
            raise NotApplicable(f"no parameter formula for a model with {name}")
    vocabulary = _built(program, "vocab_size") or stated(settings, "vocab_size", program)
    if vocabulary is None:
        raise NotApplicable("no setting vocab_size")
    heads = stated(settings, "num_heads", program)
    cell = _cell(settings, program)
    if heads is None and cell is not None:
        return _recurrent(settings, program, cell, vocabulary)
    if heads is None:
        raise NotApplicable("no setting num_heads and no recurrent cell: the kind of model is unknown")
    return _transformer(settings, program, positions, vocabulary, heads)


def transformer_core(width: float, layers: float, ff: float, *, gated: bool = False, kv_share: float = 1.0) -> float:
    """Weights of the layers alone: `L·(2·d² + 2·d²·kv_share + 2·d·d_ff)`, 3·d·d_ff where the block is gated.

    Args:
        kv_share: key-value heads / heads (1 without grouped-query attention).
    """
    return layers * (2 * width**2 * (1 + kv_share) + (3 if gated else 2) * width * ff)


def _transformer(
    settings: Settings,
    program: Program | None,
    positions: Positions | None,
    vocabulary: Amount,
    heads: Amount,
) -> Parameters:
    width = _built(program, "d_model") or _required(settings, program, "d_model")
    layers = _built(program, "num_layers") or _required(settings, program, "num_layers")
    assumed: list[str] = []
    ff = _built(program, "d_ff") or stated(settings, "d_ff", program)
    if ff is None:
        ff = Amount(4 * width.value, "4 × d_model")
        assumed.append("d_ff = 4 × d_model")
    family = str(settings.get("model_type") or "").lower()
    gated = family in _GATED or "glu" in str(settings.get("hidden_act") or settings.get("activation") or "").lower()
    keys = stated(settings, "num_key_value_heads", program)
    rows = _position_rows(settings, program, positions, family, assumed)
    d = width.value
    core = transformer_core(d, layers.value, ff.value, gated=gated, kv_share=keys.value / heads.value if keys else 1.0)
    table = vocabulary.value * d
    # Biases of four projections and two matrices and two norms a layer, a last norm, the output's bias.
    small = layers.value * (9 * d + ff.value) + 2 * d + vocabulary.value
    sizes = {
        "d_model": d, "num_layers": layers.value, "num_heads": heads.value, "d_ff": ff.value,
        "vocab_size": vocabulary.value, "positions": rows.value if rows else 0.0,
    }  # fmt: skip
    return Parameters(
        "Transformer", core, table, table, sizes["positions"] * d, small, settings.get("tie_embeddings", bool), sizes,
        tuple(assumed), width.source,
        {"d_model": width.source, "num_layers": layers.source, "d_ff": ff.source, "vocab_size": vocabulary.source,
         "positions": rows.source if rows else None},
    )  # fmt: skip


def _position_rows(
    settings: Settings, program: Program | None, positions: Positions | None, family: str, assumed: list[str]
) -> Amount | None:
    """Rows of the position table; None where positions have no table."""
    if positions is not None:
        return Amount(positions.rows, "the position table", None, positions.rows_at)
    if family in _GATED or without_table(settings):
        return None
    rows = stated(settings, "max_positions", program)
    if rows is not None:
        return rows
    length = stated(settings, "seq_len", program)
    if not str(settings.get("position_encoding") or "").lower().startswith(("learn", "abs")):
        assumed.append(f"{length.value:,.0f} learned positions" if length else "no position table")
    return length


def _recurrent(settings: Settings, program: Program | None, cell: str, vocabulary: Amount) -> Parameters:
    widths = settings.all("d_model")
    units = stated(settings, "rnn_units", program) or _keyed(widths, "hid")
    embedding = _keyed(widths, "emb") or (None if units is None else stated(settings, "d_model", program))
    units = units or stated(settings, "d_model", program)
    layers = stated(settings, "num_layers", program)
    if units is None:
        raise NotApplicable("no setting rnn_units")
    assumed = []
    if embedding is None:
        embedding = units
        assumed.append("an embedding as wide as the cells")
    if layers is None:
        assumed.append("one layer")
    h, e, n, gates = units.value, embedding.value, layers.value if layers else 1.0, _GATES[cell]
    core = gates * ((e * h + h**2 + h) + (n - 1) * (2 * h**2 + h)) + vocabulary.value
    tied = settings.get("tie_embeddings", bool)
    return Parameters(
        cell.upper(), core, vocabulary.value * e, vocabulary.value * h, 0.0, 0.0, bool(tied), {
            "rnn_units": h, "embedding": e, "num_layers": n, "vocab_size": vocabulary.value,
        },
        tuple(assumed), units.source,
        {"rnn_units": units.source, "embedding": embedding.source, "vocab_size": vocabulary.source},
    )  # fmt: skip


def _cell(settings: Settings, program: Program | None) -> str | None:
    named = str(settings.get("cell") or settings.get("model_type") or "").lower()
    for known in _GATES:
        if known in named:
            return known
    for value in settings.all("rnn_units"):
        key = (value.source.key or "").lower()
        if any(k in key for k in ("lstm", "gru")):
            return "lstm" if "lstm" in key else "gru"
    main = program.main if program else None
    calls = {c.last.lower() for c in main.calls} if main else set()
    cells = {c for c in _GATES if {c, f"{c}cell"} & calls}
    # A program that builds either cell on request is settled by a setting only.
    return cells.pop() if len(cells) == 1 else None


def _built(program: Program | None, name: str) -> Amount | None:
    """A dimension that the source proves, where it proves it alone."""
    values = [b for b in program.builds if b.name == name and b.uses_default] if program else []
    numbers = {n for b in values if (n := as_count(b.value)) is not None}
    return Amount(float(numbers.pop()), f"built {name}", None, values[0].source) if len(numbers) == 1 else None


def _required(settings: Settings, program: Program | None, name: str) -> Amount:
    found = stated(settings, name, program)
    if found is None:
        raise NotApplicable(f"no setting {name}")
    return found


def _keyed(values: tuple[SettingValue, ...], part: str) -> Amount | None:
    for value in values:
        number = as_number(value.value)
        if part in (value.source.key or "").lower() and number is not None and number > 0:
            return Amount(number, part, value, value.source)
    return None
