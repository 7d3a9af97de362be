"""What the commands of the command line do with a model that was saved."""

import argparse
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from plastic_rl.analysis.playback import RenderError, record_episode, save_animation
from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.user_input import (
    arguments_fit,
    bad_input,
    check_import,
    checked_device,
    checked_seed,
    make_env,
    same_env,
    shown_env,
)
from plastic_rl.runs import folder as runs
from plastic_rl.runs import hub
from plastic_rl.runs.hyperparams import ALGORITHMS, default_algorithm
from plastic_rl.runs.plain_yaml import parse_pairs
from plastic_rl.runs.pretrained import agent_name, available, load_pretrained, read_record
from plastic_rl.runs.statistics import normalized_as_trained


def watch(arguments: argparse.Namespace) -> int:
    """Write an animation of one episode of a saved model; the exit code."""
    output: Path = arguments.output
    model, env_id, env_kwargs = load_agent(arguments, n_envs=1)
    with bad_input(RenderError):
        episode = record_episode(model, env_id, env_kwargs, arguments.seed, arguments.deterministic)
    try:
        save_animation(episode.frames, output)
    except (ValueError, ImportError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"--output {output} cannot be written: {error.strerror}") from error
    steps = len(episode.frames) - 1
    played = f"{steps:,} steps" if episode.finished else f"the first {steps:,} steps of an unfinished episode"
    print(f"{shown_env(env_id, env_kwargs)}: return {episode.total:.2f} in {played}, stored in {output}")
    return 0


def load_agent(arguments: argparse.Namespace, n_envs: int) -> tuple[BaseAlgorithm, str, dict[str, Any]]:
    """The model, on the environment of the arguments or of the run that it belongs to."""
    if not arguments.model.exists() and agent_name(str(arguments.model)) in available():
        return _load_pretrained(arguments, n_envs)
    with bad_input(ValueError, OSError, ImportError):
        given = parse_pairs(arguments.env_kwargs)
        if str(arguments.model).startswith(hub.PREFIX):
            arguments.model = hub.fetch(str(arguments.model))
        path = _find_model(arguments.model)
        record = runs.read_config(path.parent) if (path.parent / runs.CONFIG).is_file() else None
        env_id: str | None = arguments.env_id or (None if record is None else record.env_id)
        if record is not None and env_id == record.env_id:
            check_import(env_id, arguments.env_id, arguments.trust, path.parent)
        if env_id is None:
            raise CommandError(f"{path} lies in no run's folder: give the ENV_ID")
        belongs = record is not None and same_env(env_id, record.env_id)
        env_kwargs = {**record.env_kwargs, **given} if record is not None and belongs else given
        algo = arguments.algo or (None if record is None else record.algo)
        if algo is None:
            with arguments_fit(env_kwargs, f"the arguments of {env_id}"):
                algo = default_algorithm(env_id, env_kwargs)
        if algo not in ALGORITHMS:
            raise CommandError(f"unknown algorithm {algo!r}: choose one of {', '.join(ALGORITHMS)}")
        if record is not None and algo != record.algo:
            raise CommandError(f"{path} was trained with {record.algo}, not with {algo}")
        device = checked_device(arguments.device)
        seed = checked_seed(arguments.seed)
    env = make_env(env_id, env_kwargs, n_envs, seed)
    with bad_input(ValueError, OSError):
        if record is not None:
            env = normalized_as_trained(env, record.normalize, path.parent)
        return runs.load_model(path, algo, env, device, arguments.trust), env_id, env_kwargs


def _load_pretrained(arguments: argparse.Namespace, n_envs: int) -> tuple[BaseAlgorithm, str, dict[str, Any]]:
    """The trained agent that comes with the package, on its own environment or on that of the arguments."""
    name = agent_name(str(arguments.model))
    with bad_input(ValueError, OSError):
        given, run = parse_pairs(arguments.env_kwargs), read_record(name).run
        if arguments.algo not in (None, run.algo):
            raise CommandError(f"{name} was trained with {run.algo}, not with {arguments.algo}")
        env_id = arguments.env_id or name
        env_kwargs = {**run.env_kwargs, **given} if same_env(env_id, name) else given
        device, seed = checked_device(arguments.device), checked_seed(arguments.seed)
    env = make_env(env_id, env_kwargs, n_envs, seed)
    with arguments_fit({}, "policy_kwargs"):
        return load_pretrained(name, env, device), env_id, env_kwargs


def _find_model(path: Path) -> Path:
    try:
        return runs.find_model(path)
    except FileNotFoundError as error:
        trained = f", or one of the trained agents: {', '.join(available())}" if available() else ""
        raise FileNotFoundError(f"{error}{trained}") from error
