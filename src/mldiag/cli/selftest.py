"""`mldiag selftest`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mldiag.cli import NamedPath, complain, ignore_option, rule_folders, rules_option, select_option, words
from mldiag.errors import BROKEN, FOUND, OK

if TYPE_CHECKING:
    from mldiag.faults import Fault
    from mldiag.plugins import Plugins
    from mldiag.rules import Rule
    from mldiag.selftest import Catch, Host, Selftest
    from mldiag.terminal import Page, Part

_FEW = 3
"""Reasons and families that are named one by one."""


@click.command(short_help="Plants faults into healthy runs and says which rules find them.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=NamedPath())
@click.option(
    "--seeds", type=click.IntRange(min=1), default=10, show_default=True, help="How often each fault is planted."
)
@click.option(
    "--fault",
    "chosen",
    multiple=True,
    metavar="NAME",
    callback=words,
    help="Plant these faults only, separated by commas; may be repeated.",
)
@select_option
@ignore_option
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Say where a fault was missed or not planted, and what other rules said of it.",
)
@rules_option
def command(
    paths: tuple[Path, ...],
    seeds: int,
    chosen: tuple[str, ...],
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    format_: str,
    verbose: bool,
    rules: tuple[Path, ...],
) -> int:
    """Plants faults into healthy runs and says which rules find them, from which size of the effect on.

    Without PATH into the healthy runs that mldiag simulates; the same runs show how often a rule raises a false alarm.
    With PATH into the runs found there, which tells what would be found in runs like yours: a fault of which a rule
    has a finding on such a run already is not planted into it.

    Exit codes: 0 each fault that could be planted is found in 95 % at its stated size, and at most 1 % of the simulated
    runs raised an error or a warning; 1 not so; 2 nothing could be tested, a path could not be used or a rule broke. A
    fault of which no rule is loaded, or that no run can show, is listed and changes nothing.
    """
    from mldiag.plugins import load
    from mldiag.selftest import selftest

    plugins = load(rule_folders(paths, rules))
    applied = _applied(plugins, paths, select, ignore)
    faults = [f for f in _chosen(plugins, chosen) if _asked_for(f, plugins, applied, bool(select))]
    problems = list(plugins.broken)
    hosts = list(_given(plugins, paths, select, ignore, problems) if paths else _simulated(plugins))
    test = selftest(hosts, faults, applied, seeds, others=verbose or format_ == "json")
    problems += test.defects
    if hosts and not test.judged:
        problems.append("no fault could be planted into a run that a rule can be tested on")
    if hosts or format_ == "json":
        _print(test, seeds, format_, verbose, problems, several=len(hosts) > 1)
    for line in dict.fromkeys(problems):
        complain(line)
    if problems or not hosts:
        return BROKEN
    return FOUND if test.alarms.failed or any(c.failed for c in test.judged) else OK


def _chosen(plugins: Plugins, names: Sequence[str]) -> Iterator[Fault]:
    from mldiag.errors import MldiagError, nearest

    known = plugins.faults()
    for name in names:
        if name not in known:
            raise MldiagError(f"no fault {name!r}{nearest(name, known) or '; there are ' + ', '.join(known)}")
    yield from (fault for name, fault in known.items() if not names or name in names)


def _asked_for(fault: Fault, plugins: Plugins, applied: Sequence[Rule], selected: bool) -> bool:
    """Whether one of its rules is applied, or none is known, which is told unless rules were selected."""
    names = set(fault.caught_by)
    known = names.intersection(r.name for r in plugins.rules.values())
    return bool(names.intersection(r.name for r in applied)) or not (known or selected)


def _applied(plugins: Plugins, paths: Sequence[Path], select: Sequence[str], ignore: Sequence[str]) -> list[Rule]:
    """The rules that the command line and the configuration of the first path, or of the working folder, choose."""
    from mldiag import settings

    known = list(plugins.rules.values())
    config = settings.find(paths[0] if paths else Path.cwd()).with_choice(select, ignore)
    config.check(known)
    return config.chosen(known, ".", None)


def _simulated(plugins: Plugins) -> Iterator[Host]:
    from functools import partial

    from mldiag import settings
    from mldiag.faults.healthy import families
    from mldiag.selftest import Host

    options = settings.find(Path.cwd()).options_by_name(plugins.rules.values())
    for family in families():
        yield Host(family.name, partial(family.run, facts=plugins.facts), options)


def _given(
    plugins: Plugins, paths: tuple[Path, ...], select: tuple[str, ...], ignore: tuple[str, ...], problems: list[str]
) -> Iterator[Host]:
    from mldiag import settings
    from mldiag.audit import Request, read_runs
    from mldiag.selftest import Host

    known = list(plugins.rules.values())
    found = False
    for run in read_runs(Request(paths, select, ignore), plugins, problems):
        found = True
        if not run.metrics.series:
            problems.append(f"{run.path}: no metrics were logged that a fault could be planted into")
            continue
        config = settings.find(run.root)
        config.check(known)
        options = config.options_by_name(known)
        yield Host(run.path, lambda _, run=run: run, options, simulated=False)  # type: ignore[misc]
    if not found and not problems:
        problems.append("no run was found")


def _print(test: Selftest, seeds: int, format_: str, verbose: bool, problems: Sequence[str], *, several: bool) -> None:
    from mldiag.terminal import Page, Screen, write

    if format_ == "json":
        from mldiag.reporters.json import SCHEMA, document

        write(document({"schema": SCHEMA, **described(test, seeds), "problems": list(problems)}))
        return
    page = Page(Screen.of(sys.stdout))
    _show(page, test, verbose, several)
    write(page.text())


def _show(page: Page, test: Selftest, verbose: bool, several: bool) -> None:
    for family, catches in _by_family(test.judged).items():
        page.rule(family)
        for catch in catches:
            _show_catch(page, catch, verbose, several)
    absent = [c for c in test.catches if not c.rules]
    if absent:
        page.rule("no rule loaded")
        page.table([[(c.fault.name, "strong"), (", ".join(c.absent), "dim")] for c in absent], indent=2)
    idle = [c for c in test.catches if c.rules and not c.stated.tried]
    if idle:
        page.rule("not planted")
        for catch in idle:
            page.flow(
                (catch.fault.name, "strong"), (f": {_reasons(catch.unfit, several)}", "dim"), first="  ", rest="    "
            )
    _show_alarms(page, test)


def _by_family(catches: Sequence[Catch]) -> dict[str, list[Catch]]:
    families: dict[str, list[Catch]] = {}
    for catch in sorted(catches, key=lambda c: (c.rules[0].family, c.rules[0].code)):
        families.setdefault(catch.rules[0].family, []).append(catch)
    return families


def _show_catch(page: Page, catch: Catch, verbose: bool, several: bool) -> None:
    fault = catch.fault
    names: list[Part] = [(" ", "")]
    for rule in catch.rules:
        names += [((", " if len(names) > 1 else "") + f"{rule.code} {rule.name}", "dim")]
    if catch.absent:
        names.append((f" (not loaded: {', '.join(catch.absent)})", "dim"))
    page.flow((fault.name, "error" if catch.failed else "strong"), *names, first="  ", rest="    ")
    sizes: list[Part] = [(f"{fault.unit}: ", "dim")]
    for size in catch.sizes:
        if size.share is None:
            continue
        stated = size is catch.stated
        style = ("bad" if catch.failed else "good") if stated else "dim"
        shown = f"{size.size:g}\xa0→\xa0{_percent(size.found, size.tried)}"
        sizes += [(shown + (f"\xa0of\xa0{size.tried:,}" if stated else ""), style), (" · ", "dim")]
    sizes[-1] = ("", "")
    sizes.append(
        (f"; found from\xa0{catch.from_size:g}\xa0on" if catch.from_size is not None else "; not found reliably", "")
    )
    page.flow(*sizes, first="    ", rest="    ")
    if not verbose:
        return
    missed = ", ".join(f"{name} ({count})" for name, count in catch.missed.most_common())
    told = [("missed in", missed if several else "")]
    told += [("skipped", f"{reason} ({count})") for reason, count in catch.stated.skipped.most_common(_FEW)]
    also = ", ".join(f"{code} ({count} of {catch.hosts})" for code, count in catch.also.most_common())
    told += [("also found", also), ("not planted", _reasons(catch.unfit, several))]
    for label, text in told:
        if text:
            page.flow((f"{label}: ", "dim"), (text, "dim"), first="    ", rest="      ")


def _percent(found: int, tried: int) -> str:
    """Whole percent; never 100 or 0 for what is only nearly so."""
    share = 100 * found / tried
    if found < tried and round(share) == 100:
        return f"{int(share * 10) / 10:g}\xa0%"
    return f"{max(round(share), 1 if found else 0)}\xa0%"


def _reasons(unfit: dict[str, str], several: bool) -> str:
    """Why a fault was not planted, the hosts behind each reason where there are several."""
    if not several:
        return "; ".join(unfit.values())
    hosts: dict[str, list[str]] = {}
    for host, reason in unfit.items():
        hosts.setdefault(reason, []).append(host)
    shown = []
    for reason, names in hosts.items():
        more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
        shown.append(f"{reason} ({', '.join(names[:_FEW])}{more})")
    return "; ".join(shown)


def _show_alarms(page: Page, test: Selftest) -> None:
    from mldiag.terminal import counted

    alarms = test.alarms
    page.rule("healthy runs" if alarms.runs else "the runs as they are")
    for (code, name), message in alarms.messages.items():
        page.flow((f"{code} ", "warning"), (f"{name}: ", "strong"), (message, ""), first="  ", rest="    ")
    for path, codes in alarms.found.items():
        what = f"already found here, not tested: {', '.join(codes)}" if codes else "nothing was found before planting"
        page.flow((path, "place"), (f": {what}", "warning" if codes else "good"), first="  ", rest="    ")
    if alarms.runs:
        style = "error" if alarms.failed else "good"
        share = _percent(alarms.alarmed, alarms.runs)
        page.flow(
            (f"{alarms.alarmed:,} of {alarms.runs:,} simulated runs raised an error or a warning ({share})", style),
            first="  ",
        )
    page.blank()
    missed = [c.fault.name for c in test.judged if c.failed]
    fine = len(test.judged) - len(missed)
    page.flow(
        (f"{fine} of {counted(len(test.judged), 'fault')} found in 95 % or more at the stated size", "strong"),
        *([(f"; not {', '.join(missed)}", "bad")] if missed else []),
    )


def described(test: Selftest, seeds: int) -> dict[str, Any]:
    """The outcome for programs; shares are fractions, intervals Wilson's of 95 %."""
    from mldiag.stats import wilson_interval

    def rate(found: int, tried: int) -> dict[str, Any]:
        return {
            "found": found,
            "tried": tried,
            "share": found / tried if tried else None,
            "interval": list(wilson_interval(found, tried)),
        }

    alarms = test.alarms
    return {
        "seeds": seeds,
        "faults": [
            {
                "name": c.fault.name,
                "summary": c.fault.summary,
                "rules": [{"code": r.code, "name": r.name} for r in c.rules],
                "not_loaded": list(c.absent),
                "unit": c.fault.unit,
                "stated_size": c.fault.size,
                "found_from": c.from_size,
                "passed": None if not c.stated.tried else not c.failed,
                "sizes": [
                    {"size": s.size, **rate(s.found, s.tried), "by_rule": dict(s.by_rule), "skipped": dict(s.skipped)}
                    for s in c.sizes
                ],
                "missed_in": dict(c.missed),
                "not_planted": c.unfit,
                "also_found": {"hosts": c.hosts, "rules": dict(c.also)},
            }
            for c in test.catches
        ],
        "healthy": {
            **rate(alarms.alarmed, alarms.runs),
            "rules": [
                {"code": code, **rate(alarms.by_rule[code], judged)} for code, judged in sorted(alarms.judged.items())
            ],
            "messages": [
                {"code": code, "run": name, "message": text} for (code, name), text in alarms.messages.items()
            ],
        },
        "already_found": {path: list(codes) for path, codes in alarms.found.items()},
    }
