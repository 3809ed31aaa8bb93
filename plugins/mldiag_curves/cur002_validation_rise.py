"""CUR002: the validation loss turned up and stayed up."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Curves,
    EarlyStopping,
    Evidence,
    Finding,
    Fix,
    LossPair,
    NotApplicable,
    Plan,
    Settings,
    Severity,
    edit_setting,
    rule,
    stats,
)


@rule("CUR002", severity="error", explains=("CUR015", "CUR016"), gives_way_to=("CUR004", "CUR005"))
def validation_rise(
    losses: LossPair,
    curves: Curves,
    stopping: EarlyStopping | None,
    plan: Plan | None,
    settings: Settings | None,
    *,
    min_rise: float = 0.03,
    error_rise: float = 0.1,
    min_given_back: float = 0.03,
    min_start_share: float = 0.02,
    min_train_fall: float = 0.03,
    noise_bands: float = 3.0,
    min_evaluations: int = 3,
    max_wait: int = 10,
    min_score_rise: float = 0.02,
    max_excused_rise: float = 0.5,
) -> Iterator[Finding]:
    """The validation loss rose above its best and stayed there while the train loss went on falling.

    ## What it checks
    The median of the last evaluations against the best median of a window of as many, so that neither a lucky nor an
    unlucky evaluation decides. The rise must exceed the noise of the series, and be a share both of the best loss and
    of what the run had gained: at 1 % of the loss it started from, 10 % up or down is nothing. A run that
    early stopping ended is not reported: it stopped for this reason.

    ## Why it matters
    From the best evaluation on the run made the model worse on everything but its training data, and the last
    checkpoint holds the result.

    ## Inputs
    `train/loss` and `val/loss` (or `test/loss`), any unit, at least six evaluations; scores on held-out data, the
    plan and the early stopping where they are known.

    ## Options
    - `min_rise`, `error_rise`: rise / best loss for a warning (0.03) and an error (0.1).
    - `min_given_back`: rise / what the validation loss had gained (0.03).
    - `min_start_share`: rise / loss at the start (0.02). Labelled overfitting lies at 0.03 and above; 4 to 9 % of a
      validation loss that was nearly gone were 0.004 and 0.014 in two healthy runs trained for this.
    - `min_train_fall`: fall of the train loss since then / its level then (0.03).
    - `noise_bands`: rise in standard deviations of the evaluations' noise (3).
    - `min_evaluations`: evaluations after the best (3).
    - `max_wait`: evaluations after the best at which a run that ended before its plan was stopped early (10).
    - `min_score_rise`: rise of a held-out score, as a fraction, that makes an error a warning (0.02), unless the loss
      rose by `max_excused_rise` of its best (0.5).
    Defaults chosen on 262 labelled runs with a loss (122 of them read with a provisional parser for formats that had
    no reader then), so that none labelled healthy has a finding. No run was held out.

    ## Fix
    Unsafe: a patience that is set but was never reached is lowered to the evaluations in which the loss rose. Shown
    otherwise: stop early and restore the best checkpoint.

    ## When to ignore
    The score that counts goes on rising (it is in the evidence, and makes an error a warning).

    ## Source
    Prechelt 1998, Early Stopping - But When? (Neural Networks: Tricks of the Trade). Thresholds: measured.
    """
    count, val = len(losses), losses.val
    # Of a long series medians of bins tell the same, and at no cost.
    values, train_levels = stats.binned(losses.val_levels), stats.binned(losses.train_levels)
    if count < 2 * min_evaluations:
        raise NotApplicable(f"{count} evaluations; at least {2 * min_evaluations} tell a rise from chance")
    place, best = stats.best_level(values)
    end = stats.tail_level(values)
    rise, given_back = end - best, max(stats.head_level(values, least=1) - best, 0.0)
    waited = count - 1 - losses.best_at
    band = noise_bands * stats.noise(values)
    if rise <= band or rise < min_rise * abs(best) or rise < min_given_back * given_back:
        return
    if rise < min_start_share * losses.start:
        return
    near = min(2, place, len(values) - 1 - place)  # one bad epoch at the best evaluation is no level
    train, train_end = stats.median(train_levels[place - near : place + near + 1]), stats.tail_level(train_levels)
    if len(values) - 1 - place < min_evaluations or train - train_end < min_train_fall * abs(train):
        return
    if _stopped_early(stopping, plan, waited, max_wait):
        return
    score = curves.rising_score(place / (len(values) - 1), min_score_rise)
    around = (2 * place + 1) * count // (2 * len(values))
    severe = rise >= error_rise * abs(best) and rise >= error_rise * given_back
    severe = severe and (score is None or rise >= max_excused_rise * abs(best))
    name = losses.quantity
    yield Finding(
        f"validation {name} rose from its best level {best:.4g} around {losses.place(around)} to {end:.4g} at the end "
        f"({100 * rise / abs(best):+.0f} %) while the train {name} fell from {train:.3g} to "
        f"{train_end:.3g}",
        at=val.at(-1),
        severity=Severity.ERROR if severe else Severity.WARNING,
        evidence=(
            Evidence(f"best validation {name}", best, None, losses.at(around)),
            Evidence("best level around", losses.place(around), None, losses.at(around)),
            Evidence(f"validation {name} at the end", end, best * (1 + min_rise), val.at(-1)),
            Evidence("rise / best", rise / abs(best), min_rise),
            *([Evidence("rise / loss at the start", rise / losses.start, min_start_share)] if losses.start else []),
            Evidence("noise of an evaluation, standard deviation", band / noise_bands),
            Evidence(f"train {name} at the best evaluation", train, None, losses.train.source),
            Evidence(f"train {name} at the end", train_end, None, losses.train.at(-1)),
            Evidence("evaluations after the lowest", waited, min_evaluations),
            Evidence("evaluations", count),
            *([Evidence(f"{score.name} at the end", score.values[-1], None, score.at(-1))] if score else []),
        ),
        fix=_fix(stopping, settings, min_evaluations),
    )


def _stopped_early(stopping: EarlyStopping | None, plan: Plan | None, waited: int, max_wait: int) -> bool:
    if stopping is not None:
        return stopping.fired(waited) or (stopping.patience is None and waited <= max_wait)
    cut = plan is not None and plan.epochs is not None and plan.done_epochs is not None and not plan.finished
    return cut and waited <= max_wait


def _fix(stopping: EarlyStopping | None, settings: Settings | None, least: int) -> Fix:
    title = f"stop after {least} evaluations without improvement and restore the best checkpoint"
    if stopping is None or stopping.patience is None or stopping.patience <= least or settings is None:
        return Fix.show(title)
    return Fix.unsafe(title, edit_setting(settings.effective("patience"), least))
