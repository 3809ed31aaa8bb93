"""The rows of the position table and the sequence length that is fed to it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from mldiag.artifacts import Build, Program, Role, Settings, SettingValue, Source, as_count
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.vocabulary import Vocabulary

TABLE_MODELS = frozenset({
    "albert", "bart", "bert", "bert-generation", "big_bird", "biogpt", "blenderbot", "blenderbot-small", "camembert",
    "data2vec-text", "distilbert", "electra", "ernie", "flaubert", "gpt2", "gpt_bigcode", "gpt_neo", "layoutlm",
    "longformer", "markuplm", "mbart", "megatron-bert", "mobilebert", "mpnet", "mvp", "nystromformer", "openai-gpt",
    "opt", "plbart", "qdqbert", "roberta", "roberta-prelayernorm", "splinter", "squeezebert", "visual_bert", "xlm",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
})  # fmt: skip
"""`model_type` values of Hugging Face configurations whose models index a table of absolute positions (transformers,
`modeling_*.py`). Others scale, rotate or bias positions, and `max_position_embeddings` is then no hard limit."""

_PADDED = frozenset({
    "camembert", "data2vec-text", "ibert", "layoutlmv3", "lilt", "longformer", "markuplm", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
})  # fmt: skip
PADDING_ROWS = 2
"""Rows of those families' tables that no token uses: positions begin behind `padding_idx` 1
(transformers, `create_position_ids_from_input_ids`), so that 514 rows hold 512 tokens."""

_NO_TABLE = ("rot", "rope", "alibi", "sin", "relative", "none", "nope", "t5")
_ROTARY_KEYS = ("rope_theta", "rope_scaling", "rope_parameters", "rotary_dim", "rotary_pct", "rotary_emb_base", "alibi")


class Positions(Struct, frozen=True):
    """What is fed against what the position table holds.

    Attributes:
        rows: positions the model has a row for. `reserved`: rows of the table beyond them, kept for padding.
        rows_at: the place of that number. `built_at`: the line that builds the table with it, where the source shows.
        seq_len: tokens of one sequence that is fed, as the settings say.
        fed: the setting behind `seq_len`, with its place.
    """

    rows: int
    rows_at: Source
    seq_len: int
    fed: SettingValue
    built_at: Source | None = None
    reserved: int = 0


@fact
def positions(settings: Settings, program: Program | None) -> Positions:
    """Rows as a checkpoint proves them, else as the source builds them, else as a configuration states them."""
    length = settings.require("seq_len", int)
    fed = settings.effective("seq_len")
    assert fed is not None
    if length < 1:
        raise NotApplicable(f"seq_len is {length}, which is no length, at {fed.source}")
    rows, rows_at, built_at = _rows(settings, program)
    padded = built_at is None and settings.get("model_type", str) in _PADDED and rows > PADDING_ROWS
    # BART's and OPT's tables have two rows more than their configurations count.
    padded |= any(as_count(v.value) == rows - PADDING_ROWS for v in settings.all("max_positions", Role.FILE))
    reserved = PADDING_ROWS if padded else 0
    return Positions(rows - reserved, rows_at, length, fed, built_at, reserved)


def _rows(settings: Settings, program: Program | None) -> tuple[int, Source, Source | None]:
    proven = _one(settings.all("max_positions", Role.CHECKPOINT))
    if proven is not None:
        return int(str(proven.value)), proven.source, None
    built = _built(settings, program)
    if built is not None:
        return built
    model = settings.get("model_type", str)
    if model is not None and model not in TABLE_MODELS:
        raise NotApplicable(f"a {model} model is not known to have a position table")
    if why := without_table(settings):
        raise NotApplicable(why)
    stated = _one(settings.all("max_positions"))
    if stated is None:
        raise NotApplicable("nothing says how many rows a position table has")
    return int(str(stated.value)), stated.source, None


def without_table(settings: Settings) -> str:
    """Why the settings leave no room for a position table, as a clause; empty where they do not say."""
    encoding = settings.get("position_encoding", str)
    if encoding is not None and encoding.lower().startswith(_NO_TABLE):
        return f"{encoding} positions have no table"
    return "rotary or biased positions have no table" if any(key in settings for key in _ROTARY_KEYS) else ""


def _built(settings: Settings, program: Program | None) -> tuple[int, Source, Source | None] | None:
    """The rows as the source builds them: the declared default, the option's value, or a constant."""
    # A model file that can be run by itself, for a test, builds other sizes than the program that trains.
    main = [b for b in (program.main.builds if program and program.main else ()) if b.name == "max_positions"]
    tables = main or [b for b in (program.builds if program else ()) if b.name == "max_positions"]
    found: dict[int, tuple[int, Source, Source | None]] = {}
    for build in tables:
        source, value = build.source, build.value
        if build.option is not None and not build.uses_default:
            parsed = settings.effective(option_setting(settings, program, build))
            if parsed is None or isinstance(parsed.value, tuple):
                continue
            source, value = parsed.source, parsed.value
        if isinstance(value, int) and value > 0:
            found.setdefault(value, (value, source, build.at))
    if len(found) > 1:
        raise NotApplicable(f"the source builds position tables of {', '.join(map(str, sorted(found)))} rows")
    return next(iter(found.values()), None)


def option_setting(settings: Settings, program: Program | None, build: Build) -> str:
    """The canonical name of the setting that a build's option is."""
    options = [o for s in (program.sources if program else ()) if (o := s.option(build.option or "")) is not None]
    for value in settings:
        if value.role is Role.DEFAULT and any(value.source == o.source for o in options):
            return value.name
    return Vocabulary().setting(build.option or "") or build.option or build.name


def _one(values: Iterable[SettingValue]) -> SettingValue | None:
    """The one value that is a positive whole number; None where there is none, or places disagree."""
    counts = [v for v in values if as_count(v.value) is not None]
    return counts[0] if len({v.value for v in counts}) == 1 else None
