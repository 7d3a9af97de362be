"""What a tracker is, which one a training is recorded by, and how it is begun and ended."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import KVWriter

from plastic_rl.runs.record import RunRecord
from plastic_rl.tracking.options import DEFAULT_TRACKER, TRACKERS, TrackingOptions, option_flag

Report = Callable[[str], None]
"""Is given, line by line, what the user should know."""


class Tracker(KVWriter):
    """Records a training of the command line: an output of SB3's logger, and a little more.

    A subclass and a row in `plastic_rl.tracking.options.TRACKERS` are all that a new one takes.

    Args:
        record: the training's.
        plan: what `plan` returned, as the training's ``config.yml`` keeps it.
        folder: of the training.
        report: is given, line by line, what the user should know.
    """

    def __init__(self, record: RunRecord, plan: Mapping[str, Any], folder: Path, report: Report) -> None:
        self.record, self.folder, self.report = record, folder, report

    @classmethod
    def plan(
        cls, given: Mapping[str, str], folder: Path, old: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """What ``config.yml`` is to keep of the tracking, so that a resumed training goes on with it.

        Args:
            given: the tracker's options that were given, by name.
            folder: of the training.
            old: what it kept of a training that is resumed, None for a new one.

        Returns:
            Plain values by name.

        Raises:
            ImportError: a package is missing.
            ValueError: an option is wrong, or `old` is damaged.
        """
        return {**(old or {}), **given}

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Record one row of the logger, see SB3's ``KVWriter``."""
        raise NotImplementedError

    def close(self) -> None:
        """The logger is closed; the results are still to come."""

    def log_results(self, model: BaseAlgorithm) -> None:
        """Record what a training that has ended leaves behind: what lies in its folder, and the model."""

    def finish(self, exit_code: int = 0) -> None:
        """The training is over, with exit code 1 if it failed."""


def planned(options: TrackingOptions, folder: Path, others: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a training is to be recorded by: the tracker's plan under its name, or nothing.

    Args:
        options: what is asked for.
        folder: of the training.
        others: of the record of a training that is resumed, where its old plan stands; empty for a new one.

    Raises:
        ImportError: a package is missing.
        ValueError: an option is wrong or would have no effect, or the old plan is damaged.
    """
    before = next((name for name in TRACKERS if name in others), None)
    name = options.tracker or before or DEFAULT_TRACKER
    track = before is not None if options.track is None else options.track
    if options.tracker is not None and not track:
        raise ValueError("--tracker needs --track")
    if before not in (None, name):
        raise ValueError(f"--tracker is fixed for a tracked run that is resumed: {before}")
    for owner, values in options.values.items():
        for option, value in values.items():
            flag = option_flag(owner, option)
            if not track:
                raise ValueError(f"{flag} needs --track")
            if owner != name:
                raise ValueError(f"{flag} needs --tracker {owner}")
            if before is not None and TRACKERS[owner].options[option].fixed:
                raise ValueError(f"{flag} is fixed for a tracked run that is resumed")
            if value == "":
                raise ValueError(f"{flag} is empty")
    plan = _tracker(name).plan(options.values.get(name, {}), folder, others.get(name)) if track else None
    return {} if plan is None else {name: plan}


@contextmanager
def tracked(
    plans: Mapping[str, Mapping[str, Any]], record: RunRecord, folder: Path, report: Report
) -> Iterator[list[Tracker]]:
    """The trackers of a training, begun; ended when it ends, as failed if it raises.

    Args:
        plans: what `planned` returned.
        record: the training's.
        folder: of the training.
        report: is given, line by line, what the user should know.
    """
    trackers = [_tracker(name)(record, plan, folder, report) for name, plan in plans.items()]
    try:
        yield trackers
    except BaseException:
        for tracker in trackers:
            tracker.finish(exit_code=1)
        raise
    for tracker in trackers:
        tracker.finish()


def _tracker(name: str) -> type[Tracker]:
    module, _, attribute = TRACKERS[name].path.partition(":")
    return getattr(importlib.import_module(module), attribute)
