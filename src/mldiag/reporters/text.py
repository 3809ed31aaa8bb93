"""The report for people, in a terminal or a pipe.

Causes come first, each with its source line, its numbers and what can be done; what a cause explains is told in brief
under it. Only a rule that looked and found nothing counts as clean: skipped, failed and suppressed are counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mldiag.artifacts import Source, Unread
from mldiag.errors import OK
from mldiag.findings import Evidence, Finding, Fix, Safety, Severity
from mldiag.report import Node, Report, RunReport, Style, by_cause
from mldiag.reporters import reporter
from mldiag.secrets import masked
from mldiag.terminal import Page, Part, Screen, columns_of, counted, number, padded, place

MOST_SHOWN = 5_000
"""Characters of a line before and behind a place that are looked at."""
TAB = 4
"""Columns between tab stops in source lines."""
FURTHER_PLACES = 2
"""Source lines in other files that are shown under the first one: a contradiction has two sides, rarely three."""
WIDEST_LABEL = 40
"""Columns of the evidence's labels; a longer one has a line of its own."""
DEEPEST = 5
"""Levels of symptoms that are indented further; deeper ones stay at this indent."""
FEW = 5
"""Files of unknown format that are named; the others are counted, or named with `--show-skipped`."""


@reporter("text")
def text(report: Report, style: Style) -> str:
    """Everything that was found, as text of `style.width` columns."""
    page = Page(Screen(style.width, style.color, style.encoding))
    names = {rule.code: rule.name for rule in report.rules}
    shown = [run for run in report.runs if not run.members or _told(run) or style.skipped]
    unchecked = report.unchecked
    for i, run in enumerate(shown):
        # Runs of which there is nothing to tell make a plain list.
        if i and (style.skipped or _told(shown[i - 1])):
            page.blank()
        _run(page, run, style, names, alone=len(shown) == 1, unchecked=run in unchecked)
    if report.runs and not style.quiet:
        page.blank()
        _closing(page, report, style)
    return page.text()


def _run(page: Page, run: RunReport, style: Style, names: Mapping[str, str], *, alone: bool, unchecked: bool) -> None:
    title = _title(run)
    if not _told(run):
        if not style.quiet:
            verdict: Part = ("not checked", "bad") if unchecked else ("nothing found", "good")
            tally: Part = ("" if alone else f" ({_tally([run])})", "dim")
            page.flow((title, "strong"), (": ", ""), verdict, tally, rest="  ")
            _unused(page, run)
            _outcomes(page, run, style, names)
        return
    page.rule(title)
    nodes = by_cause(run.findings)
    brief = [n for n in nodes if n.finding.level is Severity.INFO and not n.symptoms and not style.verbose]
    for node in nodes:
        if node not in brief:
            page.blank()
            _cause(page, node, style)
    for node in brief:
        page.blank()
        _headline(page, node.finding)
        _message(page, node.finding)
        _remedy(page, node.finding, "  ")
    _not_read(page, run.unread, style)
    _unused(page, run)
    if run.failed:
        page.blank()
        page.line(("failed", "error"), (": a defect of the rule, not of the run", "dim"))
        for failed in run.failed:
            page.flow((f"{_named(failed.code, names)}: {failed.error}", ""), first="  ", rest="    ")
    _outcomes(page, run, style, names)


def _title(run: RunReport) -> str:
    if run.members:
        several = len(run.members) > 1
        return f"{run.path}: {len(run.members):,} runs compared" if several else f"{run.path}: held against another run"
    return run.path if run.path.rstrip("/").endswith(run.name) else f"{run.name} ({run.path})"


def _told(run: RunReport) -> bool:
    return bool(run.findings or run.failed or any(u.known for u in run.unread))


def _cause(page: Page, node: Node, style: Style) -> None:
    finding = node.finding
    _headline(page, finding)
    _message(page, finding)
    _body(page, finding)
    if node.symptoms or node.also:
        page.blank()
        page.line(("  explains", "dim"))
        _symptoms(page, node, style, "  ", 1)


def _body(page: Page, finding: Finding) -> None:
    """Source lines, numbers and remedy, with air between them."""
    frames = list(_frames(finding))
    if frames:
        page.blank()
        gutter = max(len(str(source.line)) for source in frames)
        for source in frames:
            _frame(page, source, gutter, finding.level, named=source is not finding.at)
    if finding.evidence:
        page.blank()
        _evidence(page, finding)
    if finding.advice or finding.fix:
        page.blank()
        _remedy(page, finding, "  ")


def _headline(page: Page, finding: Finding, first: str = "", rest: str = "  ") -> None:
    at: list[Part] = [(" at ", "dim"), (place(finding.at), "place")] if finding.at else []
    level = finding.level
    page.flow((level, level), (f" {finding.code}", "strong"), (f" {finding.name}", ""), *at, first=first, rest=rest)


def _message(page: Page, finding: Finding, indent: str = "  ") -> None:
    # A number keeps its sign on the same line.
    page.flow((finding.message.replace(" %", "\xa0%"), ""), first=indent)


def _remedy(page: Page, finding: Finding, indent: str) -> None:
    if finding.advice:
        page.flow(("advice: ", "dim"), (finding.advice, ""), first=indent, rest=indent + "  ")
    if finding.fix:
        page.flow((_does(finding.fix), "good"), (finding.fix.title, ""), first=indent, rest=indent + "  ")


def _does(fix: Fix) -> str:
    return "to do by hand: " if fix.safety is Safety.SHOW else f"fix ({fix.safety}): "


def _symptoms(page: Page, node: Node, style: Style, indent: str, depth: int) -> None:
    for i, symptom in enumerate(node.symptoms):
        last = i == len(node.symptoms) - 1 and not node.also
        branch, stem = ("└ ", "  ") if last else ("├ ", "│ ")
        finding = symptom.finding
        beyond = indent + stem if depth < DEEPEST else indent
        _headline(page, finding, indent + branch, indent + stem)
        _message(page, finding, indent + stem)
        if style.verbose:
            for evidence in finding.evidence:
                page.flow((_sentence(evidence), "dim"), first=indent + stem + "  ")
        fix = finding.fix
        if style.verbose or (fix and fix != node.finding.fix):
            _remedy(page, finding, indent + stem)
        if symptom.symptoms or symptom.also:
            _symptoms(page, symptom, style, beyond, depth + 1)
    if node.also:
        again = dict.fromkeys(f"{f.code} {f.name}" for f in node.also)
        page.flow((", ".join(again), ""), (" (told elsewhere)", "dim"), first=indent + "└ ", rest=indent + "  ")


def _sentence(evidence: Evidence) -> str:
    limit = "" if evidence.limit is None else f" (limit {_quantity(evidence.limit, evidence.unit)})"
    at = f" at {place(evidence.at)}" if evidence.at else ""
    return f"{evidence.label}: {_quantity(evidence.value, evidence.unit)}{limit}{at}"


def _frames(finding: Finding) -> Iterator[Source]:
    """The lines to show: the finding's own and, of its evidence, marked values in other files."""
    seen: set[str] = set()
    if finding.at and finding.at.line and (finding.at.excerpt or "").strip():
        seen.add(finding.at.path)
        yield finding.at
    further = 0
    for evidence in finding.evidence:
        at = evidence.at
        shown = at and at.line and at.column and (at.excerpt or "").strip()
        if at and shown and at.path not in seen and further < FURTHER_PLACES:
            seen.add(at.path)
            further += 1
            yield at


def _frame(page: Page, source: Source, gutter: int, level: Severity, *, named: bool) -> None:
    lead = " " * 4
    if named:
        page.flow((place(source), "place"), first=lead)
    line, column = source.excerpt or "", (source.column or 1) - 1
    # A document on one line may have millions of characters, of which a hundred are shown.
    first = max(0, column - MOST_SHOWN)
    cells = _cells(page, masked(line[first : column + MOST_SHOWN]))
    column = min(column - first, len(cells))
    length = max(len((source.text or "").partition("\n")[0]), 1)
    room = page.width - len(lead) - gutter - 3
    shown, caret, carets = _window(page, cells, column, column + length, room)
    page.line((f"{lead}{source.line:>{gutter}} │ ", "dim"), (shown, ""))
    if source.column:
        page.line((f"{lead}{'':{gutter}} │ ", "dim"), (" " * caret, ""), ("^" * carets, level))


def _cells(page: Page, excerpt: str) -> list[str]:
    """What each character of a source line is shown as: tabs as spaces up to the next stop, the rest escaped."""
    cells = []
    at = 0
    for character in excerpt.rstrip("\r\n"):
        cell = " " * (TAB - at % TAB) if character == "\t" else page.safe(character)
        cells.append(cell)
        at += columns_of(cell)
    return cells


def _window(page: Page, cells: Sequence[str], start: int, end: int, room: int) -> tuple[str, int, int]:
    """The part of a line that fits `room` columns and shows the span `[start, end)`; caret column and length in it."""
    widths = [columns_of(c) for c in cells]
    more = page.safe("…")
    mark = len(more)
    first, last = 0, len(cells)
    # A caret behind the last character needs a column of its own.
    if sum(widths) + (start == len(cells)) > room:
        # A third of the room is kept for what stands before the value.
        while sum(widths[first:start]) > max(room - mark - sum(widths[start:end]), room // 3) - mark and first < start:
            first += 1
        left = room - (mark if first else 0)
        last, used = first, 0
        while last < len(cells) and used + widths[last] <= left:
            used += widths[last]
            last += 1
        while last < len(cells) and last > first and used + mark > left:
            last -= 1
            used -= widths[last]
    head, tail = more if first else "", more if last < len(cells) else ""
    caret = len(head) + sum(widths[first:start])
    carets = sum(widths[start : min(end, last)])
    return head + "".join(cells[first:last]) + tail, caret, max(min(carets, room - caret), 1)


def _quantity(value: object, unit: str) -> str:
    return f"{number(value)} {_units(value, unit)}".rstrip()


def _units(value: object, unit: str) -> str:
    """The unit in the plural where it is a plain English noun (`step`, not `s`, `MB` or `tokens/s`)."""
    noun = unit.isascii() and unit.isalpha() and unit.islower() and len(unit) > 2 and not unit.endswith("s")
    if value == 1 or not noun:
        return unit
    return unit + ("es" if unit.endswith(("tch", "sh", "x")) else "s")


def _evidence(page: Page, finding: Finding) -> None:
    """An aligned table: label, value with unit, limit, place. What does not fit its column goes on in a line below."""
    evidence = finding.evidence
    lead = 4
    digits = max((len(number(e.value)) for e in evidence if _measured(e.value)), default=0)
    widest = min(WIDEST_LABEL, page.width // 2 - lead)
    at_value = lead + max((c for e in evidence if (c := page.columns(e.label)) <= widest), default=0) + 2
    values = [_value(page, e, digits) for e in evidence]
    limits = [f"limit {_quantity(e.limit, e.unit)}" if e.limit is not None else "" for e in evidence]
    fitting = [c for v in values if at_value + (c := page.columns(v)) <= page.width * 2 // 3]
    at_limit = at_value + max(fitting, default=0) + 2
    at_place = at_limit + max((page.columns(limit) + 2 for limit in limits if limit), default=0)
    places = [str(e.at) if e.at else "" for e in evidence]
    if finding.at and any(at_place + page.columns(where) > page.width for where in places):
        home = finding.at.path
        places = [
            f"line {e.at.line}" if e.at and e.at.line and e.at.path == home else str(e.at or "") for e in evidence
        ]
    aligned = all(at_place + page.columns(where) <= page.width for where in places)
    for e, *cells in zip(evidence, values, limits, places, strict=True):
        if not aligned:  # one long limit must not push every place into a line of its own
            at_place = at_limit + (page.columns(cells[1]) + 2 if cells[1] else 0)
        columns = zip(cells, ("", "dim", "place"), (at_value, at_limit, at_place), strict=True)
        _row(page, e.label, [c for c in columns if c[0].strip()], lead, at_value)


def _measured(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(page: Page, evidence: Evidence, digits: int) -> str:
    shown = page.safe(number(evidence.value))
    if _measured(evidence.value):
        shown = padded(shown, digits, right=True)
    return f"{shown} {_units(evidence.value, evidence.unit)}".rstrip()


def _row(page: Page, label: str, cells: Sequence[tuple[str, str, int]], lead: int, indent: int) -> None:
    """A label and its cells, each at its column, or right behind the one before where that does not fit.

    From a cell that the line has no room for it goes on in a new one.
    """
    parts: list[Part] = [(" " * lead, ""), (label, "")]
    used = lead + page.columns(label)
    for i, (content, style, column) in enumerate(cells):
        if i and not used < column <= page.width - page.columns(content):
            column = used + 2
        if used >= column or column + page.columns(content) > page.width:
            _end_line(page, parts, lead)
            content, column, parts, used = content.strip(), indent, [], 0
            if style != "place" and indent + page.columns(content) > page.width:
                page.flow((content, style), first=" " * indent)
                used = page.width
                continue
        parts += [(" " * (column - used), ""), (content, style)]
        used = column + page.columns(content)
    _end_line(page, parts, lead)


def _end_line(page: Page, parts: Sequence[Part], lead: int) -> None:
    if len(parts) == 2 and parts[0][0] == " " * lead:
        page.flow(parts[1], first=" " * lead)
    elif parts:
        page.line(*parts)


def _not_read(page: Page, unread: Sequence[Unread], style: Style) -> None:
    known = [u for u in unread if u.known]
    unknown: dict[str, list[str]] = {}
    for u in unread:
        if not u.known:
            unknown.setdefault(u.reason, []).append(u.path)
    if not (known or unknown):
        return
    page.blank()
    page.line(("not read", "warning"))
    for u in known:
        at = u.path if u.line is None else f"{u.path}:{u.line}"
        rest = " (the rest was read)" if u.partial else ""
        page.flow((at, "place"), (f": {u.reason}{rest}", ""), first="  ", rest="    ")
    for reason, paths in unknown.items():
        named = paths if style.skipped else paths[:FEW]
        more = f" and {len(paths) - len(named):,} more" if len(named) < len(paths) else ""
        page.flow((f"{reason}: {', '.join(named)}{more}", "dim"), first="  ", rest="    ")


def _unused(page: Page, run: RunReport) -> None:
    """Comments that silence nothing: what they excused is repaired, or they never named the right rule."""
    if run.unused:
        page.blank()
        page.line(("unused suppressions", "info"))
        for comment in run.unused:
            page.flow(
                (place(comment.at), "place"), (f": {comment.rule}: {comment.reason}", ""), first="  ", rest="    "
            )


def _outcomes(page: Page, run: RunReport, style: Style, names: Mapping[str, str]) -> None:
    """With `--show-skipped`: what was not checked and why, and what is clean."""
    if not style.skipped:
        return
    reasons: dict[str, list[str]] = {}
    for skipped in run.skipped:
        reasons.setdefault(skipped.reason, []).append(_named(skipped.code, names))
    if reasons:
        page.blank()
        page.line(("skipped", "strong"), (": not checked", "dim"))
        for reason, rules in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
            page.flow((reason, ""), first="  ", rest="    ")
            page.flow((", ".join(rules), "dim"), first="    ")
    if run.suppressed:
        page.blank()
        page.line(("suppressed", "strong"), (": found, and silenced by a comment", "dim"))
        for finding in run.suppressed:
            at = f" at {place(finding.at)}" if finding.at else ""
            page.flow((f"{finding.code} {finding.name}{at}", ""), first="  ", rest="    ")
    if run.clean:
        page.blank()
        page.line(("clean", "strong"), (": looked, and found nothing", "dim"))
        page.flow((", ".join(_named(code, names) for code in run.clean), "dim"), first="  ")


def _named(code: str, names: Mapping[str, str]) -> str:
    # Code and name stay together at the end of a line.
    return f"{code}\xa0{names[code]}" if code in names else code


def _counted(count: int, noun: str, plural: str = "") -> str:
    # Number and noun stay on one line.
    return counted(count, noun, plural).replace(" ", "\xa0")


def _closing(page: Page, report: Report, style: Style) -> None:
    counts = [
        (_counted(n, s) if s is not Severity.INFO else f"{n:,} info", s) for s in Severity if (n := report.count(s))
    ]
    parts: list[Part] = [(f"{_counted(len(report.single), 'run')}: ", "")]
    for i, (count, severity) in enumerate(counts):
        parts += [(", " if i else "", ""), (count, severity)]
    if not counts:
        checked = any(run.checked for run in report.runs)
        verdict = "nothing found" if checked else "nothing could be checked"
        parts.append((verdict, "good" if report.exit_code(style.fail_on) == OK else "bad"))
    said = [_fixable(report), _tally(report.runs, hint="" if style.skipped else " (--show-skipped)"), _broken(report)]
    said.append(f"{report.seconds:.2f}\xa0s")
    page.flow(*parts, *((f" · {words}", "dim") for words in said if words), rest="  ")


def _fixable(report: Report) -> str:
    kinds = Counter(f.fix.safety for f in report.findings if f.fix)
    safe, unsafe = kinds[Safety.SAFE], kinds[Safety.UNSAFE]
    if not safe:
        return f"{unsafe:,} fixable with mldiag fix --unsafe-fixes" if unsafe else ""
    return f"{safe:,} fixable with mldiag fix" + (f" ({unsafe:,} more with --unsafe-fixes)" if unsafe else "")


def _tally(runs: Sequence[RunReport], hint: str = "") -> str:
    """How many rules were clean, skipped, failed or silenced, over all runs, and how many files nobody could judge."""
    noun = "rule" if len([r for r in runs if not r.members]) == 1 else "check"
    clean, skipped = sum(len(r.clean) for r in runs), sum(len(r.skipped) for r in runs)
    failed, silenced = sum(len(r.failed) for r in runs), sum(len(r.suppressed) for r in runs)
    unknown = sum(not u.known for run in runs for u in run.unread)
    said = [f"{_counted(clean, noun)} clean", f"{skipped:,} skipped{hint}" if skipped else "0 skipped"]
    said += [f"{failed:,} failed"] if failed else []
    said += [f"{_counted(silenced, 'finding')} suppressed"] if silenced else []
    accepted = sum(len(r.accepted) for r in runs)
    said += [f"{_counted(accepted, 'finding')} accepted by the baseline"] if accepted else []
    said += [f"{_counted(unknown, 'file')} of unknown format"] if unknown else []
    return ", ".join(said)


def _broken(report: Report) -> str:
    idle = sum(not _told(run) for run in report.unchecked)
    lost = [u for run in report.runs for u in run.unread if u.known]
    partly = sum(u.partial for u in lost)
    said = [f"{_counted(idle, 'run')} not checked"] if idle else []
    said += [f"{_counted(len(lost) - partly, 'file')} not read"] if len(lost) > partly else []
    said += [f"{_counted(partly, 'file')} read in part"] if partly else []
    said += [_counted(len(report.problems), "problem")] if report.problems else []
    return ", ".join(said)
