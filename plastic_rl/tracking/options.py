"""Trackers and their options: a table that the command line's help reads without importing a tracker."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class TrackerOption:
    """One option of a tracker; on the command line it is ``--<tracker>-<option>``.

    Attributes:
        help: a line for the command line's help.
        choices: what it may be; anything if empty.
        fixed: whether it cannot be given again for a tracked run that is resumed.
    """

    help: str
    choices: tuple[str, ...] = ()
    fixed: bool = False


@dataclass(frozen=True, kw_only=True)
class TrackerEntry:
    """A tracker that the command line knows.

    Attributes:
        title: what it is called in the help.
        path: where its class, a `plastic_rl.tracking.tracker.Tracker`, is found, as ``"module:Class"``.
        options: its options by name.
    """

    title: str
    path: str
    options: Mapping[str, TrackerOption] = field(default_factory=dict)


DEFAULT_TRACKER = "wandb"

TRACKERS: dict[str, TrackerEntry] = {
    "wandb": TrackerEntry(
        title="Weights & Biases",
        path="plastic_rl.tracking.wandb_output:WandbOutput",
        options={
            "project": TrackerOption(help="default: $WANDB_PROJECT, else plastic-rl", fixed=True),
            "entity": TrackerOption(help="user or team (default: your own)", fixed=True),
            "run_name": TrackerOption(help="default: the name of the run's folder", fixed=True),
            "mode": TrackerOption(
                help="default: $WANDB_MODE, else online; offline needs no account, wandb sync uploads later",
                choices=("online", "offline"),
            ),
        },
    ),
}
"""The trackers by name. Another one is a file with its class and a row here."""


@dataclass(frozen=True)
class TrackingOptions:
    """What is asked of tracking.

    Attributes:
        track: whether to record the run; None is: only where a tracked run is resumed.
        tracker: one of `TRACKERS`; None is that of the run that is resumed, else `DEFAULT_TRACKER`.
        values: the options that were given, by tracker and name.
    """

    track: bool | None = None
    tracker: str | None = None
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def option_flag(tracker: str, name: str) -> str:
    """How an option is written on the command line."""
    return f"--{tracker}-{name.replace('_', '-')}"
