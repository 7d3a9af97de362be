"""The command line: ``plastic-rl train | evaluate | watch | plot | data``, also ``python -m plastic_rl``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from plastic_rl.cli.errors import CommandError
from plastic_rl.runs.hyperparams import ALGORITHMS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; those of the process if not given.

    Returns:
        The exit code: 0, 2 for bad input (one line on stderr), 130 after Ctrl-C.
    """
    try:
        arguments = _parser().parse_args(argv)
        if arguments.command == "data":
            from plastic_rl.cli import data

            return data.data(arguments)
        # Torch's threads otherwise spin while they wait, which brings training to a crawl as soon as another
        # program wants one of the cores. It is read when torch is imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # torch takes seconds to import: only the commands need it, not the help.
        from plastic_rl.cli import model, plot, train

        command = {
            "train": train.train,
            "evaluate": model.evaluate,
            "watch": model.watch,
            "plot": plot.plot,
        }
        return command[arguments.command](arguments)
    except CommandError as error:
        print(f"plastic-rl: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("plastic-rl: interrupted", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def _path(text: str) -> Path:
    """A path that was typed; Python would take an empty one for the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a path")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="plastic-rl", description="Train, evaluate and watch agents with plastic connections."
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="{train,evaluate,watch,plot,data}"
    )
    _add_train(commands.add_parser("train", help="train an agent on an environment"))
    _add_evaluate(commands.add_parser("evaluate", help="mean return of a trained agent over whole episodes"))
    _add_watch(commands.add_parser("watch", help="record one episode of a trained agent as an animation"))
    _add_plot(commands.add_parser("plot", help="draw runs: learning curves, lifetimes, trained matrices"))
    _add_data(commands.add_parser("data", help="download Omniglot and CIFAR-10, or see what is there"))
    return parser


def _add_train(train: argparse.ArgumentParser) -> None:
    train.description = "Train an agent and store model, hyper-parameters, logs and figures in a folder."
    train.add_argument("env_id", metavar="ENV_ID", nargs="?", help="for example PlasticMaze-v0")
    train.add_argument(
        "--algo",
        help=f"one of {', '.join(ALGORITHMS)} (default: supervised for tasks of whole episodes, such as "
        "PlasticOmniglot-v0, else plastic_a2c)",
    )
    train.add_argument(
        "--config", metavar="FILE", type=_path, help="hyper-parameters in RL-Zoo's format, plain YAML"
    )
    train.add_argument("--timesteps", type=int, metavar="N", help="environment steps of the whole training")
    train.add_argument("--n-envs", type=int, metavar="N", help="environments stepped together")
    _add_env_kwargs(train)
    train.add_argument(
        "--hyperparams",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY:VALUE",
        help="hyper-parameters that beat the file's, for example n_steps:125 policy_kwargs.eta:0.05",
    )
    train.add_argument(
        "--seed", type=int, help="the same seed gives the same training (default: drawn and kept)"
    )
    train.add_argument("--device", help="auto, cpu, cuda, ... (default: auto)")
    train.add_argument(
        "--output", metavar="FOLDER", type=_path, help="default: runs/<algorithm>/<environment>_<number>"
    )
    train.add_argument("--resume", metavar="FOLDER", type=_path, help="go on with the run in this folder")
    _add_tracking(train.add_argument_group("Weights & Biases"))


def _add_tracking(tracking: argparse._ArgumentGroup) -> None:
    tracking.add_argument(
        "--track",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="record the run (default: only where a tracked run is resumed)",
    )
    tracking.add_argument("--wandb-project", metavar="NAME", help="default: $WANDB_PROJECT, else plastic-rl")
    tracking.add_argument("--wandb-entity", metavar="NAME", help="user or team (default: your own)")
    tracking.add_argument("--wandb-run-name", metavar="NAME", help="default: the name of the run's folder")
    tracking.add_argument(
        "--wandb-mode",
        choices=("online", "offline"),
        help="default: $WANDB_MODE, else online; offline needs no account, upload later with wandb sync",
    )


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.description = "Play whole episodes and print the mean return with its uncertainty."
    _add_model(evaluate)
    evaluate.add_argument("--episodes", type=int, default=100, metavar="N", help="default: 100")
    evaluate.add_argument(
        "--n-envs", type=int, default=16, metavar="N", help="environments at a time (default: 16)"
    )


def _add_watch(watch: argparse.ArgumentParser) -> None:
    watch.description = "Play one episode and write it as an animated GIF."
    _add_model(watch)
    watch.add_argument(
        "--output", metavar="FILE", type=_path, default=Path("episode.gif"), help="default: episode.gif"
    )


def _add_data(data: argparse.ArgumentParser) -> None:
    data.description = "The images that PlasticOmniglot-v0 and PlasticImageCompletion-v0 need."
    commands = data.add_subparsers(dest="data_command", required=True, metavar="{fetch,check}")
    fetch = commands.add_parser("fetch", help="download the official archives")
    fetch.description = "Download the official archives, compare their checksums and read them once."
    fetch.add_argument(
        "dataset",
        nargs="?",
        default="all",
        choices=("omniglot", "cifar10", "all"),
        help="CIFAR-10 has 170 MB, Omniglot 16 MB (default: all)",
    )
    fetch.add_argument(
        "--output", metavar="FOLDER", type=_path, help="default: where the environments look for them"
    )
    check = commands.add_parser("check", help="say what is there")
    check.description = (
        "Say where each dataset is and how much of it; exit code 2 if one is missing or damaged."
    )
    check.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=_path,
        help="default: the folder named by PLASTIC_RL_DATA, then that of fetch",
    )


def _add_plot(plot: argparse.ArgumentParser) -> None:
    plot.description = (
        "Draw the runs of one environment beside each other; seeds of the same hyper-parameters are one."
    )
    plot.add_argument(
        "runs", metavar="RUN", nargs="+", type=_path, help="the folder of a run, or one that holds runs"
    )
    plot.add_argument(
        "--output", metavar="FOLDER", type=_path, default=Path("figures"), help="default: figures"
    )
    plot.add_argument(
        "--window",
        type=int,
        default=1000,
        metavar="N",
        help="training episodes that a mean is taken over (default: 1000)",
    )
    plot.add_argument(
        "--episodes",
        type=int,
        default=64,
        metavar="N",
        help="lifetimes of each trained agent, with sampled actions (default: 64)",
    )
    plot.add_argument("--seed", type=int, default=0, help="of these lifetimes (default: 0)")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model",
        metavar="MODEL",
        type=_path,
        help="model.zip, the folder of a run, or the id of an environment that a trained agent comes with",
    )
    command.add_argument("env_id", metavar="ENV_ID", nargs="?", help="default: the environment of the run")
    command.add_argument("--algo", help="what the model was trained with (default: as in its folder)")
    _add_env_kwargs(command)
    actions = command.add_mutually_exclusive_group()
    actions.add_argument(
        "--stochastic",
        dest="deterministic",
        action="store_false",
        help="sample actions as in training (the default)",
    )
    actions.add_argument("--deterministic", action="store_true", help="take the most probable action")
    # --stochastic would make its own default, true, that of both.
    command.set_defaults(deterministic=False)
    command.add_argument("--seed", type=int, default=0, help="default: 0")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")


def _add_env_kwargs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--env-kwargs",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY:VALUE",
        help="arguments of the environment, for example size:7",
    )
