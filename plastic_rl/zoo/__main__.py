"""RL-Zoo with the plastic agent in it: ``python -m plastic_rl.zoo train --algo plastic_a2c ...``.

It is RL-Zoo's own code that runs; commands, options, log folders and the format of files are RL-Zoo's
(https://github.com/DLR-RM/rl-baselines3-zoo). What it gets from here:

- the algorithms ``plastic_a2c`` and ``plastic_ppo``, with ``-optimize`` and ``--trial-id``;
- the files in ``zoo_configs/`` as default hyper-parameters, those that ``plastic-rl train`` reads;
- batched environments (`plastic_rl.make_vec_env`) where there are any, unless ``--vec-env`` is given;
- environment ids with their module in front (``--env plastic_rl:PlasticMaze-v0``).
"""

import argparse
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from plastic_rl.arguments import split_env_id
from plastic_rl.zoo.registration import register
from plastic_rl.zoo.sampler import ALGORITHMS

_PROGRAM = "python -m plastic_rl.zoo"
_COMMANDS = {
    "train": "rl_zoo3.train:train",
    "enjoy": "rl_zoo3.enjoy:enjoy",
    "record_video": "rl_zoo3.record_video",  # a script, not a function
    "plot_train": "rl_zoo3.plots:plot_train",
    "all_plots": "rl_zoo3.plots:all_plots",
    "plot_from_file": "rl_zoo3.plots:plot_from_file",
}
# Those that make the environment of --env; the last two read a model and what lies beside it.
_ON_ENVIRONMENTS = ("train", "enjoy", "record_video")
_TRUST = "--trust"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of RL-Zoo's commands.

    Args:
        argv: the command and its options; those of the process if not given.

    Returns:
        The exit code: 0, or 2 where a package or an environment's module is missing, or a file can run code
        and is not trusted.

    Raises:
        SystemExit: RL-Zoo's parser, or the one here, refuses the arguments (code 2) or was asked for help.
    """
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage=f"{_PROGRAM} {{{','.join(_COMMANDS)}}} [options]",
        description=f"RL-Zoo with the algorithms {', '.join(ALGORITHMS)}. For the options of a command: "
        f"{_PROGRAM} COMMAND -h. Beside them, every command takes {_TRUST}: read files that can run any "
        "code, which are models of other algorithms, pickles, and settings of a run that are not plain YAML",
    )
    parser.add_argument("command", choices=_COMMANDS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="those of the command in RL-Zoo")
    arguments = parser.parse_args(argv)
    if os.environ.get("RANK") and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _fail("RL-Zoo trains in one process: torchrun is for plastic-rl train")
    # As for plastic-rl: torch's threads would spin while they wait. It is read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command, trust = arguments.command, _TRUST in arguments.options
    options = [option for option in arguments.options if option != _TRUST]
    given = _peek(options)
    if not trust and (what := _pickled(command, given)):
        return _fail(f"{what}, which can run any code: if you trust whoever made it, give {_TRUST}")
    try:
        register(given.vec_env is None, trust)
        run = _command(command)
    except ImportError as error:
        return _fail(f'{error} (RL-Zoo comes with pip install "plastic-rl[zoo]")')
    module, name = split_env_id(given.env or "")
    if module and command in _ON_ENVIRONMENTS:
        try:
            import_module(module)
        except ImportError as error:
            return _fail(f"--env {given.env}: {error}")
        options = [*options, "--env", name]
    if command in _ON_ENVIRONMENTS[1:] and given.algo in ALGORITHMS and given.folder is None:
        # RL-Zoo would look for pre-trained agents in its hub, and there are none of these.
        options = [*options, "--folder", "logs"]
    from plastic_rl.saving import ModelFileError

    before = sys.argv
    sys.argv = [f"{_PROGRAM} {command}", *options]
    try:
        if command == "train" and given.trained_agent and not trust:
            _check_agent(Path(given.trained_agent), given.env or "")
        run()
    except ModelFileError as error:
        return _fail(str(error))
    finally:
        sys.argv = before
    return 0


def _peek(options: list[str]) -> argparse.Namespace:
    """The few options that matter here; RL-Zoo itself reads all of them, and says what is wrong with them."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--algo", default="ppo")  # as RL-Zoo has it
    for names in (
        ("--env",),
        ("--vec-env",),
        ("-f", "--folder", "--log-folder"),
        ("-i", "--trained-agent", "--input"),
    ):
        parser.add_argument(*names)
    try:
        return parser.parse_known_args(options)[0]
    except argparse.ArgumentError:
        return parser.parse_args([])


def _pickled(command: str, given: argparse.Namespace) -> str | None:
    """What RL-Zoo would read as pickled objects, whatever lies in the folder, in words; None for nothing."""
    if command == "plot_from_file":
        return f"{given.trained_agent} holds pickled objects"
    reads_model = command in _ON_ENVIRONMENTS[1:] or (command == "train" and given.trained_agent)
    return (
        f"models of {given.algo} hold pickled objects"
        if reads_model and given.algo not in ALGORITHMS
        else None
    )


def _check_agent(agent: Path, env_id: str) -> None:
    """Make sure that nothing runs when a training goes on with an agent of ours.

    Raises:
        ModelFileError: something would, or it is no model.
    """
    from plastic_rl.saving.content import check_not_pickled
    from plastic_rl.zoo.trust import check_statistics

    if agent.is_file():  # else RL-Zoo says so
        check_not_pickled(agent)
        check_statistics(agent.parent / split_env_id(env_id)[1].replace("/", "-"))


def _command(name: str) -> Callable[[], object]:
    module, _, function = _COMMANDS[name].partition(":")
    if not function:
        return partial(runpy.run_module, module, run_name="__main__")
    return getattr(import_module(module), function)


def _fail(message: str) -> int:
    print(f"{_PROGRAM}: error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
