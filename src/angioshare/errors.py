"""Every error that AngioShare raises on purpose, as one tree.

::

    AngioShareError          1   anything below
    |- CheckFailed           1   a check said no
    |- SettingsError         2   usage or settings
    |  `- BusyError          2   another process is at work there
    |- DataError             3   input data
    `- PrivacyError          4   refused for privacy
       |- BudgetExceeded     4   the next step would pass the budget
       `- LedgerError        4   the ledger is damaged, edited, busy or of another cohort

The number is the exit code of the command line. A message names the thing, its value, the bound and the cure.
"""


class AngioShareError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class CheckFailed(AngioShareError):
    """A check that was asked for said no."""

    exit_code = 1


class SettingsError(AngioShareError):
    """A setting, option or argument is wrong."""

    exit_code = 2


class BusyError(SettingsError):
    """Another process is at work there; waiting helps."""


class DataError(AngioShareError):
    """Input data cannot be used: missing, damaged, hostile or inconsistent."""

    exit_code = 3


class PrivacyError(AngioShareError):
    """Refused, because going on would break or void a privacy guarantee."""

    exit_code = 4


class BudgetExceeded(PrivacyError):
    """The next step would spend more than the budget allows."""


class LedgerError(PrivacyError):
    """The ledger is damaged, edited, never let go of by another process, or belongs to another cohort."""
