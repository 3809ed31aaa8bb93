"""CFG004: a width that its attention heads do not divide."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Program,
    Role,
    Settings,
    SettingValue,
    Severity,
    as_count,
    edit_setting,
    rule,
)

# Keys, as files and flags spell them, that are an attention layer's heads and width. Others (`heads` with `dim`) belong
# to layers whose head width is a setting of its own, or to graph attention, which joins heads.
_HEADS = frozenset({"num_heads", "n_heads", "n_head", "nhead", "nheads", "num_attention_heads"})
_WIDTHS = frozenset({"d_model", "n_embd", "hidden_size", "embed_dim", "model_dim", "n_embed"})
_OWN_HEAD_WIDTH = ("head_dim", "d_kv", "kv_channels", "dim_head", "d_head", "attention_head_dim", "key_dim",
                   "head_size", "d_k", "qk_nope_head_dim")  # fmt: skip
_ROTARY = ("rope_theta", "rope_scaling", "rope_parameters", "rotary_pct")


@rule("CFG004", severity="error", pre=True)
def indivisible_heads(settings: Settings, program: Program | None) -> Iterator[Finding]:
    """The model's width is not divisible by its number of attention heads.

    ## What it checks
    Width and heads of one model, read from the same command and source or from the same configuration file: the width
    must be a multiple of the heads, and with rotary positions each head must have an even width. Settings of two
    modules are not put together, and a model with a head width of its own (`head_dim`, `d_kv`) is left alone. Where
    the source uses Keras' `MultiHeadAttention`, which takes any `key_dim`, the finding is a warning.

    ## Why it matters
    PyTorch and Hugging Face refuse such a model when it is built, often after the data was prepared. Code that divides
    with `//` builds it all the same, with heads that together are narrower than the model.

    ## Inputs
    Settings `d_model` and `num_heads` (whole numbers), `position_encoding` or a rotary setting.

    ## Fix
    Unsafe: the nearest number of heads that divides the width (and leaves an even head width for rotary positions).
    The model learns differently with other heads, and another width may be what was meant.

    ## When to ignore
    Attention layers that project to a head width which is written in the source alone.

    ## Source
    PyTorch `nn.MultiheadAttention`: "embed_dim will be split across num_heads"; Vaswani et al. 2017, section 3.2.2;
    Su et al. 2021, RoFormer, section 3.4.2: positions rotate pairs of dimensions.
    """
    width, heads = _pair(settings)
    size, count = int(str(width.value)), int(str(heads.value))
    if any(key in settings for key in _OWN_HEAD_WIDTH):
        raise NotApplicable("the model has a head width of its own")
    rotary = _rotary(settings)
    head = size / count
    if size % count == 0 and not (rotary and head % 2):
        return
    nearest = min(
        (n for n in range(1, size + 1) if size % n == 0 and not (rotary and size // n % 2)),
        key=lambda n: (abs(n - count), n),
        default=None,
    )
    keras = program is not None and any("keras" in c.resolved for c in program.calls_to("MultiHeadAttention"))
    problem = (
        f"a width of {size:,} is not divisible by {count:,} heads ({head:g} each)"
        if size % count
        else f"{count:,} heads of width {head:g} cannot be rotated in pairs: rotary positions need an even width"
    )
    fix = None
    if nearest is not None:
        fix = Fix.unsafe(f"use {nearest:,} heads of {size // nearest:,}", edit_setting(heads, nearest))
    yield Finding(
        problem,
        at=heads.source,
        evidence=(
            Evidence("width", size, at=width.source),
            Evidence("heads", count, at=heads.source),
            Evidence("width left over", size % count, 0),
        ),
        severity=Severity.WARNING if keras else None,
        fix=fix,
    )


def _pair(settings: Settings) -> tuple[SettingValue, SettingValue]:
    """Width and heads of one model: from one block of one file, or both from the program's launch and source."""
    heads = settings.effective("num_heads")
    if heads is None:
        raise NotApplicable(settings.ambiguous.get("num_heads", "no setting num_heads"))
    if _key(heads)[1] not in _HEADS or as_count(heads.value) is None:
        raise NotApplicable(f"num_heads at {heads.source} is not the number of heads of one attention layer")
    widths = [v for v in settings.all("d_model") if _together(v, heads) and _key(v)[1] in _WIDTHS and as_count(v.value)]
    best = [v for v in widths if v.rank == widths[0].rank]
    if len({v.value for v in best}) != 1 or "d_model" in settings.ambiguous:
        raise NotApplicable("no single width belongs to these heads")
    return best[0], heads


def _together(width: SettingValue, heads: SettingValue) -> bool:
    if {width.role, heads.role} <= {Role.FLAG, Role.DEFAULT}:
        return True
    return (width.role, width.source.path, _key(width)[0]) == (heads.role, heads.source.path, _key(heads)[0])


def _key(value: SettingValue) -> tuple[str, str]:
    """The block that a key lies in, and the key's last part as the file spells it."""
    block, _, last = (value.source.key or value.name).replace("/", ".").rpartition(".")
    return block, last.lower().lstrip("-").replace("-", "_")


def _rotary(settings: Settings) -> bool:
    encoding = settings.get("position_encoding", str) or ""
    return encoding.lower().startswith(("rot", "rope")) or any(key in settings for key in _ROTARY)
