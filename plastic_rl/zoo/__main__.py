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
# Those that make the environment of --env.
_ON_ENVIRONMENTS = ("train", "enjoy", "record_video")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of RL-Zoo's commands.

    Args:
        argv: the command and its options; those of the process if not given.

    Returns:
        The exit code: 0, or 2 where a package or an environment's module is missing.

    Raises:
        SystemExit: RL-Zoo's parser, or the one here, refuses the arguments (code 2) or was asked for help.
    """
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage=f"{_PROGRAM} {{{','.join(_COMMANDS)}}} [options]",
        description=f"RL-Zoo with the algorithms {', '.join(ALGORITHMS)}. For the options of a command: "
        f"{_PROGRAM} COMMAND -h",
    )
    parser.add_argument("command", choices=_COMMANDS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="those of the command in RL-Zoo")
    arguments = parser.parse_args(argv)
    if os.environ.get("RANK") and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _fail("RL-Zoo trains in one process: torchrun is for plastic-rl train")
    # As for plastic-rl: torch's threads would spin while they wait. It is read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command, options = arguments.command, arguments.options
    given = _peek(options)
    try:
        register(batched=given.vec_env is None)
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
    before = sys.argv
    sys.argv = [f"{_PROGRAM} {command}", *options]
    try:
        run()
    finally:
        sys.argv = before
    return 0


def _peek(options: list[str]) -> argparse.Namespace:
    """The few options that matter here; RL-Zoo itself reads all of them, and says what is wrong with them."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for names in (("--algo",), ("--env",), ("--vec-env",), ("-f", "--folder", "--log-folder")):
        parser.add_argument(*names)
    try:
        return parser.parse_known_args(options)[0]
    except argparse.ArgumentError:
        return parser.parse_args([])


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
