"""What the commands of the command line do."""

import argparse
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import safe_mean

from plastic_rl.envs import reference_levels
from plastic_rl.training import runs
from plastic_rl.training.callbacks import EpisodeLogCallback, ProgressCallback, SaveModelCallback
from plastic_rl.training.cli import CommandError
from plastic_rl.training.evaluation import CannotRender, record_episode, save_gif
from plastic_rl.training.evaluation import evaluate as evaluate_model
from plastic_rl.training.plots import learning_curve
from plastic_rl.training.settings import ALGORITHMS, algorithm_class, load_config
from plastic_rl.training.user_input import bad_input, checked_device, checked_seed, make_env, settings_fit
from plastic_rl.training.values import parse_pairs

_DRAWN_LEVELS = ("random", "paper non-plastic", "paper plastic", "bayes-optimal")
_SHOWN_LEVELS = ("random", "bayes-optimal")


def train(arguments: argparse.Namespace) -> int:
    """Train a new agent or go on with an old one."""
    if arguments.resume is not None:
        return _resume(arguments)
    if arguments.env_id is None:
        raise CommandError("train needs an ENV_ID, or --resume FOLDER")
    with bad_input(ValueError, OSError):
        env_kwargs = parse_pairs(arguments.env_kwargs)
        overrides = parse_pairs(arguments.hyperparams)
        given = {"n_timesteps": arguments.timesteps, "n_envs": arguments.n_envs}
        overrides |= {key: value for key, value in given.items() if value is not None}
        config = load_config(arguments.env_id, arguments.algo or "plastic_a2c", arguments.config, overrides)
        seed = secrets.randbelow(runs.MAX_SEED) if arguments.seed is None else checked_seed(arguments.seed)
        device = checked_device(arguments.device or "auto")
        folder = arguments.output or runs.next_free_folder(config.algo, config.env_id)
        runs.check_new_folder(folder)
    env = make_env(config.env_id, env_kwargs, config.n_envs, seed)
    with settings_fit(config.settings.get("policy_kwargs") or {}, "policy_kwargs"):
        model = algorithm_class(config.algo)(env=env, seed=seed, device=device, **config.kwargs())
    record = {
        "env_id": config.env_id,
        "env_kwargs": env_kwargs,
        "algo": config.algo,
        "seed": seed,
        "device": device,
        "n_envs": config.n_envs,
        "n_timesteps": config.n_timesteps,
        "hyperparams": config.settings,
        "settings_file": str(config.source),
        "versions": runs.versions(),
    }
    with bad_input(OSError):
        runs.create_folder(folder, record)
    # From here on the run can be resumed, whatever happens to this process.
    runs.save_model(model, folder / runs.MODEL)
    print(f"Training {_description(record, model)} from step 0, stored in {folder}", flush=True)
    return _learn(model, folder, record)


def evaluate(arguments: argparse.Namespace) -> int:
    """Print the mean return of a saved model."""
    if arguments.episodes < 1 or arguments.n_envs < 1:
        raise CommandError("--episodes and --n-envs must be at least 1")
    model, env_id, env_kwargs = _load(arguments, min(arguments.n_envs, arguments.episodes))
    model.set_random_seed(arguments.seed)
    env = model.get_env()
    assert env is not None
    result = evaluate_model(model, env, arguments.episodes, arguments.deterministic)
    env.close()
    actions = "the most probable actions" if arguments.deterministic else "actions sampled as in training"
    low, high = result.interval
    print(
        f"{_shown_env(env_id, env_kwargs)}: {arguments.episodes} episodes, {actions}, seed {arguments.seed}"
    )
    print(f"mean return {result.mean:.2f}, standard deviation {result.std:.2f}")
    print(f"95 % interval of the mean {low:.2f} to {high:.2f}")
    levels = reference_levels(env_id, env_kwargs)
    if levels:
        print("for comparison: " + ", ".join(f"{name} {level:.4g}" for name, level in levels.items()))
    return 0


def watch(arguments: argparse.Namespace) -> int:
    """Write an animation of one episode of a saved model."""
    output: Path = arguments.output
    if output.suffix.lower() != ".gif":
        raise CommandError(f"--output must end in .gif, not {output}")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise CommandError(f"--output {output} cannot be written: there is no such folder, or it is one")
    model, env_id, env_kwargs = _load(arguments, n_envs=1)
    with bad_input(CannotRender):
        episode = record_episode(model, env_id, env_kwargs, arguments.seed, arguments.deterministic)
    try:
        save_gif(episode.frames, output)
    except OSError as error:
        raise CommandError(f"--output {output} cannot be written: {error.strerror}") from error
    steps = len(episode.frames) - 1
    played = f"{steps:,} steps" if episode.finished else f"the first {steps:,} steps of an unfinished episode"
    print(f"{_shown_env(env_id, env_kwargs)}: return {episode.total:.2f} in {played}, stored in {output}")
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.resume
    fixed = ("algo", "config", "n_envs", "env_kwargs", "hyperparams", "seed", "output")
    for name in fixed:
        if getattr(arguments, name) not in (None, []):
            raise CommandError(f"--{name.replace('_', '-')} is fixed for a run that is resumed")
    with bad_input(ValueError, OSError):
        record = runs.read_config(folder)
        if arguments.env_id and not _same_env(arguments.env_id, record["env_id"]):
            raise CommandError(f"{folder} holds a run on {record['env_id']}, not on {arguments.env_id}")
        if arguments.timesteps is not None:
            if arguments.timesteps < 1:
                raise CommandError(f"--timesteps must be at least 1, not {arguments.timesteps}")
            record["n_timesteps"] = arguments.timesteps
        record["device"] = checked_device(arguments.device or record.get("device", "auto"))
        path = runs.find_model(folder)
    env = make_env(record["env_id"], record["env_kwargs"], record["n_envs"], record["seed"])
    with bad_input(ValueError, OSError):
        model = runs.load_model(path, record["algo"], env, record["device"])
    done, total = model.num_timesteps, record["n_timesteps"]
    if done >= total:
        env.close()
        print(
            f"Nothing left to do: {done:,} of {total:,} steps are done; give --timesteps N to train longer."
        )
        return 0
    with bad_input(ValueError, OSError):
        # All is read before anything is written.
        progress = runs.read_progress(folder, done)
        monitor = runs.trimmed_monitor(folder, getattr(model, "logged_episodes", 0))
        runs.update_config(folder, record)
        runs.write_monitor(folder, monitor)
    # Loading a model seeds it as at the start of the run: without a new seed it would see the same episodes.
    model.set_random_seed(int(np.random.SeedSequence([record["seed"], done]).generate_state(1)[0] // 2))
    print(f"Resuming {_description(record, model)} from step {done:,}, stored in {folder}", flush=True)
    return _learn(model, folder, record, progress)


def _learn(
    model: BaseAlgorithm, folder: Path, record: dict[str, Any], old: Sequence[dict[str, str]] = ()
) -> int:
    """Train up to the run's number of steps; leave model and figures behind even when interrupted.

    `old` rows of the progress log are kept.
    """
    levels = reference_levels(record["env_id"], record["env_kwargs"])
    shown = {name: levels[name] for name in _SHOWN_LEVELS} if levels else {}
    if shown:
        print("For comparison: " + ", ".join(f"{name} {level:.4g}" for name, level in shown.items()))
    logger = runs.progress_logger(folder, old)
    model.set_logger(logger)
    episodes = EpisodeLogCallback(folder, record["env_id"])
    progress = ProgressCallback(shown)
    steps_before, start, interrupted = model.num_timesteps, time.monotonic(), False
    try:
        model.learn(
            record["n_timesteps"] - steps_before,
            callback=[episodes, progress, SaveModelCallback(folder / runs.MODEL)],
            log_interval=_log_interval(model),
            reset_num_timesteps=steps_before == 0,
        )
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.close()
        episodes.close()
        logger.close()
    seconds = time.monotonic() - start
    runs.save_model(model, folder / runs.MODEL)
    assert model.env is not None
    model.env.close()
    if interrupted:
        print(
            f"\nInterrupted at step {model.num_timesteps:,} of {record['n_timesteps']:,}: the model is saved."
        )
        print(f"To go on: plastic-rl train --resume {shlex.quote(str(folder))}")
    for note in _figures(model, folder, record, levels):
        print(f"Note: {note}")
    steps = model.num_timesteps - steps_before
    print(f"{steps:,} steps in {seconds:,.1f} s ({steps / seconds:,.0f} steps/s), stored in {folder}")
    if interrupted:
        return 130
    last = [info["r"] for info in model.ep_info_buffer or []]
    if last:
        comparison = "".join(f", {name} {level:.4g}" for name, level in shown.items())
        print(f"Mean return of the last {len(last)} training episodes: {safe_mean(last):.2f}{comparison}")
    what = shlex.join([str(folder), record["env_id"]])
    print(f"Next: plastic-rl evaluate {what}")
    print(f"      plastic-rl watch {what} --output episode.gif")
    return 0


def _figures(
    model: BaseAlgorithm, folder: Path, record: dict[str, Any], levels: dict[str, float] | None
) -> Iterator[str]:
    """Draw the learning curve and an episode; yield a note about what could not be drawn."""
    env_id, env_kwargs = record["env_id"], record["env_kwargs"]
    drawn = {name: levels[name] for name in _DRAWN_LEVELS} if levels else None
    if (folder / runs.MONITOR).is_file() and len(runs.read_monitor(folder / runs.MONITOR)["r"]):
        title = f"{record['algo']} on {_shown_env(env_id, env_kwargs)}, seed {record['seed']}"
        learning_curve(folder / runs.MONITOR, folder / runs.CURVE, drawn, title)
    else:
        yield f"no episode has finished yet, so there is no {runs.CURVE}"
    try:
        episode = record_episode(model, env_id, env_kwargs, record["seed"])
        save_gif(episode.frames, folder / runs.EPISODE)
    except CannotRender as error:
        yield f"no {runs.EPISODE}: {error}"


def _load(arguments: argparse.Namespace, n_envs: int) -> tuple[BaseAlgorithm, str, dict[str, Any]]:
    """The model, on the environment of the arguments or of the run that it belongs to."""
    with bad_input(ValueError, OSError):
        given = parse_pairs(arguments.env_kwargs)
        path = runs.find_model(arguments.model)
        record = runs.read_config(path.parent) if (path.parent / runs.CONFIG).is_file() else {}
        env_id = arguments.env_id or record.get("env_id")
        if env_id is None:
            raise CommandError(f"{path} lies in no run's folder: give the ENV_ID")
        belongs = _same_env(env_id, record.get("env_id", ""))
        env_kwargs = {**record["env_kwargs"], **given} if belongs else given
        algo = arguments.algo or record.get("algo", "plastic_a2c")
        if algo not in ALGORITHMS:
            raise CommandError(f"unknown algorithm {algo!r}: choose one of {', '.join(ALGORITHMS)}")
        if algo != record.get("algo", algo):
            raise CommandError(f"{path} was trained with {record['algo']}, not with {algo}")
        device = checked_device(arguments.device)
        seed = checked_seed(arguments.seed)
    env = make_env(env_id, env_kwargs, n_envs, seed)
    with bad_input(ValueError, OSError):
        return runs.load_model(path, algo, env, device), env_id, env_kwargs


def _log_interval(model: Any) -> int:
    """Rollouts between two rows of the log: about 2,000 steps, however short the rollouts are."""
    return max(1, 2000 // (model.n_steps * model.n_envs))


def _description(record: dict[str, Any], model: BaseAlgorithm) -> str:
    env = _shown_env(record["env_id"], record["env_kwargs"])
    run = f"{record['n_timesteps']:,} steps, {record['n_envs']} environments, seed {record['seed']}"
    return f"{record['algo']} on {env}: {run}, {model.device},"


def _same_env(one: str, other: str) -> bool:
    """Whether two ids name the same environment, with or without its module in front."""
    return one.rpartition(":")[2] == other.rpartition(":")[2]


def _shown_env(env_id: str, env_kwargs: dict[str, Any]) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in env_kwargs.items())
    return f"{env_id}({arguments})" if arguments else env_id
