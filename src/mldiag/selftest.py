"""Whether the rules find what they are there for: faults are planted into healthy runs, and the rules applied.

Every fault is planted at its stated size into every run that can show it, once per seed; at its other sizes into fewer.
A rule that already has a finding on the run as it was, or gives way to one that has, cannot be tested on it. Such a
fault is not planted into a run of the user, and into a simulated one only where another of its rules can find it. Found
is found by one of the rules that the fault names: what other rules say of it is listed apart. A rule that is skipped
has found nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from mldiag.engine import apply_rules
from mldiag.errors import NotApplicable
from mldiag.faults import Fault
from mldiag.findings import Failed, Finding, Severity
from mldiag.report import RunReport
from mldiag.rules import Rule
from mldiag.run import Run

MIN_FOUND = 0.95
"""Share of the planted faults that the rules have to find."""
MAX_ALARMED = 0.01
"""Share of the healthy runs on which a rule may have an error or a warning."""
FEWER = 10
"""Other sizes than the stated one are tried on every so many-th simulated run: they say from where on it is found."""

Options = Mapping[str, Mapping[str, Any]]


class Host(Struct, frozen=True):
    """A run to plant faults into.

    Attributes:
        name: of its family, or its path.
        run: the run of a seed.
        options: rule name → option → value, as configured for it.
        simulated: it is known to be healthy, so that a finding on it is a false alarm.
    """

    name: str
    run: Callable[[int], Run]
    options: Options = field(default_factory=dict)
    simulated: bool = True


class Size(Struct):
    """A fault at one size: how often it was planted and found, and why rules were skipped instead.

    Attributes:
        by_rule: rule code → how often this rule found it; `found` counts where any of its rules did.
    """

    size: float
    tried: int = 0
    found: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float | None:
        return self.found / self.tried if self.tried else None


class Catch(Struct):
    """What became of one fault.

    Attributes:
        rules: the rules that are to find it, as far as they are loaded; `absent`: names of those that are not.
        sizes: from the smallest effect to the largest.
        unfit: host → why the fault could not be planted there.
        missed: host → how often it was missed at its stated size.
        also: other rules → on how many hosts they had an error or a warning because of it, of `hosts` looked at; only
            where it was asked for.
    """

    fault: Fault
    rules: tuple[Rule, ...]
    absent: tuple[str, ...]
    sizes: tuple[Size, ...]
    unfit: dict[str, str] = field(default_factory=dict)
    missed: Counter[str] = field(default_factory=Counter)
    also: Counter[str] = field(default_factory=Counter)
    hosts: int = 0

    @property
    def stated(self) -> Size:
        """What became of it at its stated size."""
        return next(s for s in self.sizes if s.size == self.fault.size)

    @property
    def from_size(self) -> float | None:
        """The smallest size from which on it is found as often as it should be; None where even the largest is not."""
        found = None
        for size in reversed([s for s in self.sizes if s.tried]):
            if size.found < MIN_FOUND * size.tried:
                break
            found = size.size
        return found

    @property
    def failed(self) -> bool:
        """It was planted at its stated size and found too seldom."""
        return self.stated.found < MIN_FOUND * self.stated.tried


class Alarms(Struct):
    """What the rules said of the runs as they were.

    Attributes:
        runs: simulated runs; `alarmed`: those with an error or a warning.
        judged: rule code → runs that it looked at; `by_rule`: rule code → runs on which it raised an alarm.
        messages: (rule code, family) → the first such message.
        found: path → codes of the rules that had findings on a run of the user.
    """

    runs: int = 0
    alarmed: int = 0
    judged: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)
    messages: dict[tuple[str, str], str] = field(default_factory=dict)
    found: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Too many healthy runs raised an alarm."""
        return self.alarmed > MAX_ALARMED * self.runs


class Selftest(Struct):
    """The outcome; `defects`: rules or faults that broke, one line each."""

    catches: tuple[Catch, ...]
    alarms: Alarms
    defects: list[str] = field(default_factory=list)

    @property
    def judged(self) -> tuple[Catch, ...]:
        """Faults that were planted at least once."""
        return tuple(c for c in self.catches if c.stated.tried)


def selftest(
    hosts: Iterable[Host], faults: Iterable[Fault], rules: Sequence[Rule], seeds: int, *, others: bool = False
) -> Selftest:
    """Plants faults into every host, once for each of `seeds` seeds, and applies the rules.

    Args:
        others: look also at what rules say of a fault that is not theirs, on the first run of each host.
    """
    test = _Test(tuple(rules), faults, others)
    for number, host in enumerate(hosts):
        for seed in range(seeds):
            test.plant_into(host, seed, number * seeds + seed)
    return Selftest(tuple(test.catches), test.alarms, list(test.defects))


class _Test:
    def __init__(self, rules: tuple[Rule, ...], faults: Iterable[Fault], others: bool) -> None:
        self.rules = rules
        self.others = others
        self.by_name = {r.name: r for r in rules}
        self.by_code = {r.code: r for r in rules}
        self.alarms = Alarms()
        self.defects: dict[str, None] = {}
        self.catches = [self._catch(fault) for fault in faults]

    def _catch(self, fault: Fault) -> Catch:
        loaded = tuple(self.by_name[name] for name in fault.caught_by if name in self.by_name)
        absent = tuple(name for name in fault.caught_by if name not in self.by_name)
        return Catch(fault, loaded, absent, tuple(Size(size) for size in fault.sizes))

    def plant_into(self, host: Host, seed: int, count: int) -> None:
        """Plants every fault into one run, which is the `count`-th of all."""
        run = replace(host.run(seed), suppressions=())
        before = self._judged(run, self.rules, host)
        if host.simulated or not seed:
            self._note_alarms(host, before)
        findings = {f.code for f in before.findings}
        for catch in self.catches:
            usable = [rule for rule in catch.rules if not findings.intersection((rule.code, *rule.gives_way_to))]
            # What one of its rules says of the user's run already, it would say of the planted one as well.
            hidden = [rule for rule in catch.rules if rule not in usable]
            if not usable or (hidden and not host.simulated):
                for rule in hidden[:1]:
                    code = next(c for c in (rule.code, *rule.gives_way_to) if c in findings)
                    catch.unfit.setdefault(host.name, f"{code} has a finding on the run as it is")
                continue
            for size in catch.sizes:
                if size is catch.stated or not host.simulated or count % FEWER == 0:
                    self._plant(catch, size, host, run, seed, usable)
            if self.others and not seed:
                self._note_others(catch, host, run, findings)

    def _plant(self, catch: Catch, size: Size, host: Host, run: Run, seed: int, rules: Sequence[Rule]) -> None:
        planted = self._planted(catch, size.size, host, run, seed)
        if planted is None:
            return
        report = self._judged(planted, self._with_rivals(rules), host)
        size.tried += 1
        wanted = {r.code for r in rules}
        finders = {f.code for f in report.findings if f.code in wanted and f.level.rank <= catch.fault.least.rank}
        size.by_rule.update(finders)
        if finders:
            size.found += 1
            return
        if size is catch.stated:
            catch.missed[host.name] += 1
        size.skipped.update(f"{s.code}: {s.reason}" for s in report.skipped if s.code in wanted)

    def _planted(self, catch: Catch, size: float, host: Host, run: Run, seed: int) -> Run | None:
        rng = random.Random(f"{catch.fault.name} {host.name} {seed}")  # noqa: S311 (a simulation)
        try:
            return catch.fault.planted(run, rng, size)
        except NotApplicable as reason:
            catch.unfit.setdefault(host.name, str(reason))
        except Exception as error:  # a defect of the fault; the others go on
            self.defects[f"fault {catch.fault.name} broke: {type(error).__name__}: {error}"] = None
        return None

    def _judged(self, run: Run, rules: Sequence[Rule], host: Host) -> RunReport:
        report = apply_rules(run, rules, host.options)
        for broken in report.failed:
            self.defects[_told(broken)] = None
        return report

    def _with_rivals(self, rules: Sequence[Rule]) -> list[Rule]:
        """The rules and those that they give way to, which may rightly take their place."""
        chosen = dict.fromkeys(rules)
        chosen |= dict.fromkeys(self.by_code[c] for r in rules for c in r.gives_way_to if c in self.by_code)
        return list(chosen)

    def _note_alarms(self, host: Host, report: RunReport) -> None:
        codes = {f.code for f in report.findings if _alarms(f)}
        if not host.simulated:
            self.alarms.found[host.name] = tuple(sorted({f.code for f in report.findings}))
            return
        self.alarms.runs += 1
        self.alarms.alarmed += bool(codes)
        self.alarms.by_rule.update(codes)
        self.alarms.judged.update({*report.clean, *(f.code for f in report.findings)})
        for finding in filter(_alarms, report.findings):
            self.alarms.messages.setdefault((finding.code, host.name), finding.message)

    def _note_others(self, catch: Catch, host: Host, run: Run, before: set[str]) -> None:
        """What all the other rules say of the fault, on the first run of each host."""
        planted = self._planted(catch, catch.fault.size, host, run, 0)
        if planted is None:
            return
        own = {r.code for r in catch.rules}
        report = self._judged(planted, self.rules, host)
        catch.hosts += 1
        catch.also.update({f.code for f in report.findings if _alarms(f)} - before - own)


def _alarms(finding: Finding) -> bool:
    return finding.level is not Severity.INFO


def _told(broken: Failed) -> str:
    return f"rule {broken.code} failed: {broken.error}"
