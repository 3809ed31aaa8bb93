"""DAT005: validation is done on what was trained on."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    Idiom,
    NotApplicable,
    Program,
    Role,
    Settings,
    SettingValue,
    Severity,
    SharedLines,
    SplitTexts,
    TokenFile,
    TokenStatistics,
    rule,
)

_WINDOWS, _FROM_TRAINING = "windows split at random", "validation from training"


@rule("DAT005", severity="error", pre=True, explains=("CUR009", "CUR010", "CUR012", "CFG008"))
def split_overlap(
    statistics: TokenStatistics | None,
    texts: SplitTexts | None,
    program: Program | None,
    settings: Settings | None,
    *,
    max_share: float = 0.1,
    error_share: float = 0.5,
    window: int = 64,
    min_windows: int = 100,
    min_lines: int = 20,
) -> Iterator[Finding]:
    """The same documents, windows or examples are in training and in validation.

    ## What it checks
    1. Token files (`train.bin`, `val.bin`): the share of the different windows of `window` ids of the validation file
       that stand somewhere in the training file.
    2. Texts (`train.txt`, `val.txt`, also `.jsonl`, `.csv`, `.tsv`): the share of the different lines of 40 characters
       and more that stand in both.
    3. The source: windows that overlap and are split into training and validation at random (`x.unfold(0, 65, 4)` and
       a permutation; `random_split` of a data set that gives `data[i:i + n]`), so that each window of the one has its
       neighbours in the other; and validation data that are the training data or a part of them: one data set in both
       loaders, `eval_dataset=train.select(...)` of Hugging Face, the training matrix as XGBoost's `"val"`.
    4. The description of an Ultralytics data set (`data.yaml`): one path for `train` and for `val`.

    ## Why it matters
    The validation loss then measures memory: it falls with the training loss whatever is learnt, early stopping never
    comes, and the model is worse on new data than any number says.

    ## Inputs
    Token files and texts by their names, of one folder; Python sources; `train` and `val` of a data set's description.

    ## Options
    - `max_share` (0.1) and `error_share` (0.5): share of the validation windows or lines from which it is a warning,
      and an error. Web corpora have up to 3 % in common by themselves (Lee et al. 2022, table 2); the two labelled
      runs with both files, of program text cut into characters, 0 and 0.2 %.
    - `window` (64 ids): as Lee et al. (50 tokens), rounded up to cover characters as well.
    - `min_windows` (100), `min_lines` (20): compared at least, or nothing is said.

    ## Fix
    Shown: split the documents first, then cut each part into windows.

    ## When to ignore
    Data whose parts repeat each other by nature (templates, logs), and a validation on training data that is meant as
    the training score, as in a first try with `coco128.yaml`, which has one folder for both.

    ## Source
    Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better". Windows by hashes: Karp and Rabin 1987;
    Manber 1994.
    """
    judged = 0
    if statistics is not None:
        for train, held in _pairs(statistics.files):
            if held.count >= min_windows + window and train.count >= window:
                judged += 1
                yield from _same_windows(statistics, train, held, window, min_windows, max_share, error_share)
    for pair in texts.pairs if texts is not None else ():
        if pair.lines >= min_lines:
            judged += 1
            yield from _same_lines(pair, max_share, error_share)
    for source in program.sources if program is not None else ():
        judged += 1
        for idiom in source.idioms:
            if idiom.name == _WINDOWS:
                yield _windows(idiom)
            elif idiom.name == _FROM_TRAINING:
                yield _from_training(idiom)
    described = _described(settings) if settings is not None else []
    for first, second in described:
        judged += 1
        if first.value == second.value:
            yield _one_path(first, second)
    if not judged:
        raise NotApplicable("neither the data of both splits nor a source that splits them")


def _described(settings: Settings) -> list[tuple[SettingValue, SettingValue]]:
    """`train` and `val` of each file that describes a data set, by its path or its classes."""
    by_file: dict[str, dict[str, SettingValue]] = {}
    for value in settings:
        if value.role is Role.FILE:
            by_file.setdefault(value.source.path, {}).setdefault(value.source.key or value.key, value)
    found = []
    for path, values in by_file.items():
        is_data = any(k in ("names", "nc", "path") or k.startswith("names.") for k in values)
        both = [v for k in ("train", "val") if (v := values.get(k)) is not None and _is_path(v.value)]
        if is_data and len(both) == 2 and path.endswith((".yaml", ".yml")):
            found.append((both[0], both[1]))
    return found


def _is_path(value: object) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value or value.endswith(".txt"))


def _one_path(train: SettingValue, held: SettingValue) -> Finding:
    return Finding(
        f"train and val are one path, {held.value}: validation is done on training data",
        at=held.source,
        evidence=(
            Evidence("validation data", str(held.value), at=held.source),
            Evidence("training data", str(train.value), at=train.source),
        ),
        fix=Fix.show("hold a part of the data out before training, and validate on that alone"),
    )


def _pairs(files: tuple[TokenFile, ...]) -> Iterator[tuple[TokenFile, TokenFile]]:
    """Each held-out file with the training files of its width in the same folder."""
    for held in files:
        for train in files:
            beside = train.source.path.rpartition("/")[0] == held.source.path.rpartition("/")[0]
            if held.split in ("val", "test") and train.split == "train" and beside and train.width == held.width:
                yield train, held


def _same_windows(
    statistics: TokenStatistics, train: TokenFile, held: TokenFile, window: int, least: int, limit: float, error: float
) -> Iterator[Finding]:
    shared = statistics.shared(train, held, window)
    if shared.windows < least or shared.share <= limit:
        return
    yield Finding(
        f"{100 * shared.share:.3g} % of the windows of {window} ids in {held.source.path} stand in {train.source.path} "
        f"as well ({shared.found:,} of {shared.windows:,} compared)",
        at=held.source,
        severity=Severity.ERROR if shared.share >= error else Severity.WARNING,
        evidence=(
            Evidence("share of validation windows in the training file", shared.share, limit, held.source),
            Evidence("windows in both", shared.found, at=train.source),
            Evidence("windows compared", shared.windows, least, held.source),
            Evidence("window", window, unit="token"),
            Evidence("ids of the training file that were looked at", shared.looked_at, at=train.source, unit="token"),
        ),
        fix=Fix.show(_FIX),
    )


def _same_lines(pair: SharedLines, limit: float, error: float) -> Iterator[Finding]:
    if pair.share <= limit:
        return
    yield Finding(
        f"{100 * pair.share:.3g} % of the lines of {pair.held_out.path} stand in {pair.train.path} as well "
        f"({pair.found:,} of {pair.lines:,} different lines of 40 characters and more)",
        at=pair.held_out,
        severity=Severity.ERROR if pair.share >= error else Severity.WARNING,
        evidence=(
            Evidence("share of validation lines in the training text", pair.share, limit, pair.held_out),
            Evidence("lines in both", pair.found, at=pair.train),
            Evidence("lines compared", pair.lines, at=pair.held_out),
            Evidence("first line that is in both", pair.first, at=pair.held_out),
        ),
        fix=Fix.show(_FIX),
    )


def _windows(idiom: Idiom) -> Finding:
    stride, window, how = idiom.detail("stride"), idiom.detail("window"), idiom.detail("split")
    length = f"{window:,.0f}" if isinstance(window, int | float) else str(window)
    return Finding(
        f"windows of {length} are started every {stride:g} and split at random by {how}: each window of the validation "
        "part shares most of its content with windows of the training part",
        at=idiom.source,
        evidence=(
            Evidence("stride", stride, window, idiom.also[0] if idiom.also else idiom.source),
            Evidence("window", window, at=idiom.also[0] if idiom.also else idiom.source),
            Evidence("split by", how, at=idiom.source),
        ),
        fix=Fix.show(_FIX),
    )


def _from_training(idiom: Idiom) -> Finding:
    part = "is" if idiom.detail("whole") else "is a part of"
    held, train = idiom.detail("validation"), idiom.detail("train")
    return Finding(
        f"{held} {part} {train}, which training uses whole: validation is done on training data",
        at=idiom.source,
        evidence=(
            Evidence("validation data", held, at=idiom.source),
            Evidence("training data", train, at=idiom.source),
        ),
        fix=Fix.show("hold a part of the data out before training, and validate on that alone"),
    )


_FIX = "split the documents into training and validation first, then cut each part into windows"
