"""CFG006: a flag that the launched program does not define."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mldiag.api import (
    Edit,
    Ending,
    Evidence,
    Finding,
    Fix,
    Flag,
    NotApplicable,
    Option,
    Origin,
    Program,
    Vocabulary,
    rule,
)


@rule("CFG006", severity="error", pre=True, explains=("SCH002",))
def unknown_flag(program: Program, ending: Ending | None, *, min_similarity: float = 0.8) -> Iterator[Finding]:
    """A flag of the launch command is not one that the program defines.

    ## What it checks
    Every flag of the launch that stands for the run against the options that the program's parser declares. Only
    where the source shows the whole parser: not with `parse_known_args`, sub-commands or options added elsewhere.
    What argparse understands is understood: an unambiguous beginning (`--seq` for `--seq_len`; click takes none),
    `--no-x` of a `BooleanOptionalAction`, short flags in one word (`-vq`, `-j8`). Flags of the launcher (`torchrun`,
    `accelerate`) are not the program's.

    ## Why it matters
    argparse ends the program with "unrecognized arguments" before the first step: in a queue, hours after the launch.

    ## Inputs
    The launch command and the launched program's options; the last line of the log, which may name the flag.

    ## Options
    - `min_similarity` (ratio 0-1, default 0.8): how alike a known flag must be to be proposed, by the share of matching
      characters. One letter more or less in a flag of five characters gives 0.91, in one of thirteen 0.96.

    ## Fix
    Safe, if exactly one known flag is spelled almost alike and the command does not give it already: it is what the
    command meant. Unsafe, if one flag has the same meaning under another name (`--lr`, `--learning_rate`), since its
    unit may differ. With several near flags, or none, the fix is only shown.

    ## When to ignore
    A program whose flags are changed by a wrapper before they reach the parser.

    ## Source
    Python documentation, argparse, "Argument abbreviations (prefix matching)". Ratio: Ratcliff and Obershelp, as in
    `difflib.SequenceMatcher`.
    """
    launch, source = program.launch, program.main
    if launch is None:
        raise NotApplicable("no launch script")
    if source is None:
        raise NotApplicable(f"the source of {launch.program} was not found")
    known = {spelled: option for option in source.options for spelled in option.flags}
    if not (source.closed and known):
        raise NotApplicable(f"{source.path} may take options that its source does not show")
    first = min(known.values(), key=lambda o: o.source.line or 0)
    for flag in (f for f in launch.flags if f.name.startswith("-")):
        candidates = _meant(flag.name, known)
        if len(candidates) == 1:
            continue
        given = {f.name for f in launch.flags}
        near = candidates or [n for n in _near(flag.name, known, min_similarity) if n not in given]
        problem = "fits several options of" if candidates else "is no option of"
        yield Finding(
            f"{flag.name} {problem} {source.path}" + (f"; near: {', '.join(near)}" if near else ""),
            at=flag.at,
            evidence=(
                Evidence("unknown flag", flag.name, at=flag.at),
                Evidence("options of the program", len({o.name for o in known.values()}), at=first.source),
            ),
            fix=_fix(flag, near, min_similarity),
            # Only where the log ends by naming the flag is it what ended the run.
            explains=None if ending is not None and flag.name in ending.said else (),
        )


def _meant(written: str, known: Mapping[str, Option]) -> list[str]:
    """The flags that argparse takes a written one for: one when it is understood, several when it is ambiguous."""
    if written in known or written in ("-h", "--help"):
        return [written]
    if any(o.origin is Origin.CLICK for o in known.values()):
        known = {n: o for n, o in known.items() if not n.startswith("--")}  # click takes no beginnings of long options
    positive = "--" + written.removeprefix("--no-")
    if written.startswith("--no-") and positive in known and not known[positive].takes_value:
        return [written]
    if written.startswith("--"):
        options = {id(o): n for n, o in known.items() if n.startswith(written)}
        return sorted(options.values())
    # `-vq` is `-v -q`, and `-j8` is `-j 8`; a single dash may also begin a long flag.
    long = [n for n in known if n.startswith(written)]
    return long[:1] or ([written[:2]] if written[:2] in known else [])


def _near(written: str, known: Mapping[str, Option], cutoff: float) -> list[str]:
    """Known flags of almost the same spelling, one for each option, else those of the same meaning."""
    alike = _alike(written, list(known), cutoff)
    words = Vocabulary()
    meaning = words.setting(written.lstrip("-"))
    same = [n for n in known if n.startswith("--") and meaning and words.setting(n.lstrip("-")) == meaning]
    return list({id(known[n]): n for n in reversed(alike or same)}.values())[::-1]


def _alike(written: str, known: list[str], cutoff: float) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(written, known, n=3, cutoff=cutoff)


def _fix(flag: Flag, near: list[str], cutoff: float) -> Fix:
    title = f"write {' or '.join(near)} for {flag.name}" if near else f"remove {flag.name}, or define it in the program"
    at = flag.at
    if len(near) != 1 or at.start is None or at.end is None or at.text != flag.name:
        return Fix.show(title)
    edit = Edit(at.path, at.start, at.end, at.text, near[0])
    return Fix.safe(title, edit) if _alike(flag.name, near, cutoff) else Fix.unsafe(title, edit)
