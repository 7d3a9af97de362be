"""What the commands of the command line do with a model that was saved."""

import argparse
import json
from pathlib import Path
from typing import Any, cast

from stable_baselines3.common.base_class import BaseAlgorithm

from plastic_rl.analysis.playback import RenderError, record_episode, save_gif
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
    shown_levels,
    shows_training_data,
)
from plastic_rl.envs import reference_levels
from plastic_rl.runs import folder as runs
from plastic_rl.runs.hyperparams import ALGORITHMS, default_algorithm
from plastic_rl.runs.plain_yaml import parse_pairs
from plastic_rl.runs.pretrained import agent_name, available, load_pretrained, read_record
from plastic_rl.runs.statistics import normalized_as_trained
from plastic_rl.training.description import describe
from plastic_rl.training.evaluation import Evaluation, evaluate_episodes
from plastic_rl.training.evaluation import evaluate as evaluate_model
from plastic_rl.training.supervised import SupervisedMetaLearner


def evaluate(arguments: argparse.Namespace) -> int:
    """Print the mean return of a saved model, or every measure of its answers; the exit code."""
    model, env_id, env_kwargs = load_agent(arguments, min(arguments.n_envs, arguments.episodes))
    episodes, seed = arguments.episodes, arguments.seed
    env = model.get_env()
    assert env is not None
    whole = describe(model).whole_episodes
    if whole:
        results = evaluate_episodes(cast(SupervisedMetaLearner, model), env, episodes, seed=seed)
    else:
        model.set_random_seed(seed)
        results = {"return": evaluate_model(model, env, episodes, arguments.deterministic)}
    of_the_training = shows_training_data(model)
    env.close()
    levels = reference_levels(env_id, env_kwargs)
    if arguments.json:
        what = {"env_id": env_id, "env_kwargs": env_kwargs, "episodes": episodes, "seed": seed}
        what |= {"deterministic": whole or arguments.deterministic, "levels": levels}
        print(json.dumps(what | {"measures": {name: _plain(result) for name, result in results.items()}}))
        return 0
    actions = "the most probable actions" if arguments.deterministic else "actions sampled as in training"
    count = f"{episodes} episode{'s' if episodes > 1 else ''}"
    print(f"{shown_env(env_id, env_kwargs)}: {count}{'' if whole else f', {actions}'}, seed {seed}")
    for name, result in results.items():
        print(_score(name, result, whole))
    if levels:
        print(f"for comparison: {shown_levels(levels)}")
    if of_the_training:
        print("Note: that is the data of the training; --env-kwargs split:test evaluates on unseen data")
    return 0


def _plain(result: Evaluation) -> dict[str, Any]:
    """A measure as plain values; its uncertainty is null for a single episode."""
    uncertain = len(result.returns) > 1
    return {
        "mean": result.mean,
        "standard_deviation": result.std if uncertain else None,
        "interval": list(result.interval) if uncertain else None,
    }


def _score(name: str, result: Evaluation, exact: bool) -> str:
    """A measure with its uncertainty, which a single episode does not have."""
    mean, spread = (".6g", ".4g") if exact else (".2f", ".2f")
    if len(result.returns) == 1:
        return f"{name} {result.mean:{mean}}"
    low, high = result.interval
    interval = f"95 % interval of the mean {low:{mean}} to {high:{mean}}"
    return f"mean {name} {result.mean:{mean}}, standard deviation {result.std:{spread}}, {interval}"


def watch(arguments: argparse.Namespace) -> int:
    """Write an animation of one episode of a saved model; the exit code."""
    output: Path = arguments.output
    model, env_id, env_kwargs = load_agent(arguments, n_envs=1)
    with bad_input(RenderError):
        episode = record_episode(model, env_id, env_kwargs, arguments.seed, arguments.deterministic)
    try:
        save_gif(episode.frames, output)
    except ValueError as error:
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
    with bad_input(ValueError, OSError):
        given = parse_pairs(arguments.env_kwargs)
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
