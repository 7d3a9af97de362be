"""``plastic-rl sweep``: many trainings from one file, what has become of them, their table and curves."""

import argparse
from pathlib import Path

from plastic_rl.cli.arguments import whole_number
from plastic_rl.cli.errors import CommandError

SUMMARY = "train settings x environments x seeds, and compare them"
_ACTIONS = ("status", "table", "plot")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl sweep`` takes."""
    parser.description = (
        "Train what a sweep's file asks for and has not been trained: settings x environments x seeds, each "
        "in a folder. Or say what has become of it (status), compare (table) or draw (plot) what is there."
    )
    parser.add_argument(
        "what", metavar="[status|table|plot] FILE", nargs="+", help="the YAML file, see docs/sweeps.md"
    )
    parser.add_argument(
        "--jobs", type=whole_number, metavar="N", help="trainings at a time (default: one for each core)"
    )
    parser.add_argument(
        "--threads", type=whole_number, default=1, metavar="N", help="of each training (default: 1)"
    )
    parser.add_argument("--retry", action="store_true", help="also train what has failed")
    parser.add_argument(
        "--slurm",
        nargs="*",
        metavar="KEY:VALUE",
        help="submit to SLURM instead; submitit's parameters, such as timeout_min:600 slurm_partition:cpu",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked with a sweep."""
    *action, file = arguments.what
    if action and (len(action) > 1 or action[0] not in _ACTIONS):
        raise CommandError(f"sweep takes FILE, or one of {', '.join(_ACTIONS)} and FILE, not {action[0]!r}")
    if (arguments.jobs is not None and arguments.jobs < 1) or arguments.threads < 1:
        raise CommandError("--jobs and --threads must be at least 1")
    from plastic_rl.cli import sweep_jobs, sweep_report
    from plastic_rl.cli.user_input import bad_input
    from plastic_rl.runs.sweep import read_sweep

    with bad_input(ValueError, OSError):
        sweep = read_sweep(Path(file))
        if action:
            report = getattr(sweep_report, action[0])
            print(report(sweep))
            return 0
    return sweep_jobs.run(sweep, arguments)
