"""All that a plugin may import: the compatibility promise of mldiag.

Within a major version names are added here, never removed or changed in meaning. A rule, fact, reader or reporter that
imports only this module goes on working.
"""

from __future__ import annotations

from mldiag import stats
from mldiag.artifacts import (
    Build,
    Call,
    Flag,
    Launch,
    Metrics,
    Option,
    Origin,
    Program,
    PythonSource,
    Role,
    Sample,
    Samples,
    Scalar,
    Series,
    Settings,
    SettingValue,
    Source,
    Unread,
    floats,
)
from mldiag.editors import edit_setting
from mldiag.errors import MldiagError, NotApplicable, ReadError
from mldiag.facts import Fact, as_fact, fact
from mldiag.files import File
from mldiag.findings import Edit, Evidence, Finding, Fix, Safety, Severity
from mldiag.hooks import hookimpl
from mldiag.plugins import facts_in, readers_in, reporters_in, rules_in
from mldiag.readers import Reader, reader
from mldiag.report import Report, RunReport, Style
from mldiag.reporters import Reporter, reporter
from mldiag.rules import Rule, rule
from mldiag.run import Run
from mldiag.vocabulary import Vocabulary
