"""``plastic-rl train``: train a new agent, or go on with a run."""

import argparse
from typing import Any

from plastic_rl.cli.arguments import add_env_kwargs, add_trust, path, seconds, whole_number
from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.stops import Stops
from plastic_rl.runs.hyperparams import ALGORITHMS
from plastic_rl.runs.record import VEC_ENVS
from plastic_rl.tracking.options import DEFAULT_TRACKER, TRACKERS, TrackingOptions, option_flag

SUMMARY = "train an agent on an environment"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl train`` takes."""
    parser.description = "Train an agent and store model, hyper-parameters, logs and figures in a folder."
    parser.add_argument("env_id", metavar="ENV_ID", nargs="?", help="for example PlasticMaze-v0")
    parser.add_argument(
        "--algo",
        help=f"one of {', '.join(ALGORITHMS)} (default: supervised for tasks of whole episodes, such as "
        "PlasticOmniglot-v0, plastic_ppo where plastic_ppo.yml alone names the id, else plastic_a2c)",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=path,
        help="hyper-parameters in RL-Zoo's format, plain YAML; or paper, those of the paper's network",
    )
    parser.add_argument(
        "--timesteps", type=whole_number, metavar="N", help="environment steps of the whole training"
    )
    parser.add_argument("--n-envs", type=whole_number, metavar="N", help="environments stepped together")
    parser.add_argument(
        "--vec-env",
        choices=VEC_ENVS,
        help="single environments one after the other (dummy), or each in a process of its own (subproc), "
        "which pays where a step takes long, and begins new episodes when it is resumed (default: batched "
        "where the environment can be, else dummy)",
    )
    add_env_kwargs(parser)
    parser.add_argument(
        "--hyperparams",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY:VALUE",
        help="hyper-parameters that beat the file's, for example n_steps:125 policy_kwargs.eta:0.05",
    )
    parser.add_argument(
        "--seed",
        type=whole_number,
        help="the same seed gives the same training (default: drawn and kept)",
    )
    parser.add_argument("--device", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument(
        "--output", metavar="FOLDER", type=path, help="default: runs/<algorithm>/<environment>_<number>"
    )
    parser.add_argument("--resume", metavar="FOLDER", type=path, help="go on with the run in this folder")
    parser.add_argument(
        "--save-every",
        type=seconds,
        metavar="SECONDS",
        help="how often the model is saved during the training (default: 180); at its end it always is",
    )
    add_trust(parser)
    _add_tracking(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train a new agent or go on with an old one."""
    if arguments.resume is None and arguments.env_id is None:
        raise CommandError("train needs an ENV_ID, or --resume FOLDER")
    with Stops() as stops:
        from plastic_rl.cli import start
        from plastic_rl.cli.user_input import bad_input
        from plastic_rl.training.distributed import LostProcessError

        begin = start.new if arguments.resume is None else start.resumed
        with bad_input(LostProcessError):
            return begin(arguments, _tracking_options(arguments), stops)


def _add_tracking(parser: argparse.ArgumentParser) -> None:
    tracking = parser.add_argument_group("tracking")
    tracking.add_argument(
        "--track",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="record the run (default: only where a tracked run is resumed)",
    )
    tracking.add_argument("--tracker", choices=tuple(TRACKERS), help=f"default: {DEFAULT_TRACKER}")
    for tracker, entry in TRACKERS.items():
        group = parser.add_argument_group(entry.title)
        for name, option in entry.options.items():
            more: dict[str, Any] = {"choices": option.choices} if option.choices else {"metavar": "NAME"}
            group.add_argument(option_flag(tracker, name), dest=f"{tracker}_{name}", help=option.help, **more)


def _tracking_options(arguments: argparse.Namespace) -> TrackingOptions:
    values = {
        tracker: {name: getattr(arguments, f"{tracker}_{name}") for name in entry.options}
        for tracker, entry in TRACKERS.items()
    }
    given = {
        tracker: {name: value for name, value in options.items() if value is not None}
        for tracker, options in values.items()
    }
    return TrackingOptions(arguments.track, arguments.tracker, given)
