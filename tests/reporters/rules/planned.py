"""Rules that say everything a report can hold; the reporters' golden files are made with them."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Edit, Evidence, Finding, Fix, Metrics, NotApplicable, Role, Settings, rule


@rule("TST001", severity="error", explains=("TST003", "TST004"))
def short_plan(settings: Settings) -> Iterator[Finding]:
    """The plan ends before the epochs do."""
    planned = settings.require("total_steps", int)
    meant = settings.require("epochs", int) * settings.require("steps_per_epoch", int)
    at = settings.where("total_steps")
    assert at is not None
    assert at.start is not None
    assert at.end is not None
    edit = Edit(at.path, at.start, at.end, at.text or "", str(meant))
    yield Finding(
        f"planned {planned:,} steps of the {meant:,} that the epochs take ({planned / meant:.1%})",
        at=at,
        evidence=(
            Evidence("planned steps", planned, meant, at, "step"),
            Evidence("epochs", settings.get("epochs"), None, settings.where("epochs")),
            Evidence(
                "steps per epoch", settings.get("steps_per_epoch"), None, settings.where("steps_per_epoch"), "step"
            ),
            Evidence("share of the plan", planned / meant, 1.0),
        ),
        fix=Fix.safe(f"set total_steps to {meant}", edit),
    )


@rule("TST002", severity="error", explains=("TST003",))
def two_lengths(settings: Settings) -> Iterator[Finding]:
    """The script and the configuration disagree."""
    settings.require("seq_len", int)
    flag, file = settings.all("seq_len", Role.FLAG)[0], settings.all("seq_len", Role.FILE)[0]
    yield Finding(
        f"{flag.value} in the script, {file.value} in the configuration",
        at=flag.source,
        evidence=(
            Evidence("seq_len in the script", flag.value, None, flag.source, "token"),
            Evidence("seq_len in the configuration", file.value, None, file.source, "token"),
        ),
        advice="make the two say the same",
        fix=Fix.show("choose one of the two lengths"),
    )


@rule("TST003", severity="warning")
def far_apart(metrics: Metrics) -> Iterator[Finding]:
    """Validation lies above training."""
    train, val = metrics.require("train/loss"), metrics.require("val/loss")
    gap = val.data[-1] - train.data[-1]
    yield Finding(
        f"validation loss ended {gap:.2f} nats above train loss",
        at=val.source,
        evidence=(Evidence("gap", gap, 0.5, val.source, "nat"), Evidence("logged", float("nan"), float("inf"))),
    )


@rule("TST004", severity="warning")
def much_warmup(settings: Settings) -> Iterator[Finding]:
    """The warm-up is long."""
    steps = settings.require("warmup_steps", int)
    at = settings.where("warmup_steps")
    assert at is not None
    assert at.start is not None
    assert at.end is not None
    edit = Edit(at.path, at.start, at.end, at.text or "", "500")
    yield Finding(
        f"warmed up for {steps:,} steps",
        at=at,
        fix=Fix.unsafe("set warmup_steps to 500", edit),
    )


@rule("TST005", severity="info")
def tokens_in_sight(settings: Settings) -> Iterator[Finding]:
    """Says what a run reads."""
    yield Finding(f"reads {settings.require('seq_len', int) * 32:,} tokens a step", at=settings.where("seq_len"))


@rule("TST006", severity="warning")
def no_seed(settings: Settings) -> Iterator[Finding]:
    """A seed is set; never fires where there is one."""
    if settings.get("seed") is None:
        yield Finding("no seed")


@rule("TST007", severity="warning")
def needs_weights(settings: Settings) -> Iterator[Finding]:
    """Looks at the weights."""
    raise NotApplicable("no checkpoint")
    yield


@rule("TST008", severity="warning")
def stale_batch(settings: Settings) -> Iterator[Finding]:
    """Fires on a line that silences it."""
    yield Finding(f"batch of {settings.require('batch_size', int)}", at=settings.where("batch_size"))


@rule("TST009", severity="warning")
def broken_rule(metrics: Metrics) -> Iterator[Finding]:
    """Breaks on every run with metrics."""
    yield Finding(f"{len(metrics.series) / 0}")
