"""The commands of the command line that concern agents; what ``train`` does."""

import argparse
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import safe_mean
from tqdm import tqdm  # type: ignore[import-untyped]

from plastic_rl.analysis.playback import RenderError, record_episode, save_gif
from plastic_rl.analysis.plots import learning_curve
from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.user_input import (
    bad_input,
    checked_device,
    checked_seed,
    make_env,
    same_env,
    settings_fit,
    shown_env,
)
from plastic_rl.envs import reference_levels
from plastic_rl.policies.plastic_modules import plastic_modules
from plastic_rl.runs import folder as runs
from plastic_rl.runs.callbacks import EpisodeLogCallback, ProgressCallback, SaveModelCallback
from plastic_rl.runs.hyperparams import algorithm_class, default_algorithm, load_config
from plastic_rl.runs.plain_yaml import parse_pairs
from plastic_rl.runs.record import MAX_SEED, RunRecord
from plastic_rl.tracking.plasticity import PlasticityCallback
from plastic_rl.tracking.wandb_output import WandbOutput, tracked, wandb_record
from plastic_rl.training.episode_batches import task_of
from plastic_rl.training.supervised import SupervisedMetaLearner

_DRAWN_LEVELS = ("random", "paper non-plastic", "paper plastic", "bayes-optimal")
_SHOWN_LEVELS = ("random", "bayes-optimal")


def train(arguments: argparse.Namespace) -> int:
    """Train a new agent or go on with an old one."""
    if arguments.resume is not None:
        return _resume(arguments)
    if arguments.env_id is None:
        raise CommandError("train needs an ENV_ID, or --resume FOLDER")
    with bad_input(ValueError, OSError, ImportError):
        env_kwargs = parse_pairs(arguments.env_kwargs)
        overrides = parse_pairs(arguments.hyperparams)
        given = {"n_timesteps": arguments.timesteps, "n_envs": arguments.n_envs}
        overrides |= {key: value for key, value in given.items() if value is not None}
        algo = arguments.algo
        if algo is None:
            with settings_fit(env_kwargs, f"the arguments of {arguments.env_id}"):
                algo = default_algorithm(arguments.env_id, env_kwargs)
        config = load_config(arguments.env_id, algo, arguments.config, overrides)
        seed = secrets.randbelow(MAX_SEED) if arguments.seed is None else checked_seed(arguments.seed)
        device = checked_device(arguments.device or "auto")
        folder = arguments.output or runs.next_free_folder(config.algo, config.env_id)
        runs.check_new_folder(folder)
        wandb_run = wandb_record(arguments, folder)
    env = make_env(config.env_id, env_kwargs, config.n_envs, seed)
    with settings_fit(config.hyperparams.get("policy_kwargs") or {}, "policy_kwargs"):
        model = algorithm_class(config.algo)(env=env, seed=seed, device=device, **config.kwargs())
    record = RunRecord(
        env_id=config.env_id,
        env_kwargs=env_kwargs,
        algo=config.algo,
        seed=seed,
        device=device,
        n_envs=config.n_envs,
        n_timesteps=config.n_timesteps,
        hyperparams=config.hyperparams,
        hyperparams_file=str(config.source),
        versions=runs.versions(),
        others={} if wandb_run is None else {"wandb": wandb_run},
    )
    with bad_input(OSError):
        runs.create_folder(folder, record)
    # From here on the run can be resumed, whatever happens to this process.
    runs.save_model(model, folder / runs.MODEL)
    print(f"Training {_description(record, model)} from step 0, stored in {folder}", flush=True)
    with tracked(record, folder, tqdm.write, on=wandb_run is not None) as tracking:
        return _learn(model, folder, record, tracking=tracking)


def _resume(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.resume
    fixed = ("algo", "config", "n_envs", "env_kwargs", "hyperparams", "seed", "output")
    for name in fixed:
        if getattr(arguments, name) not in (None, []):
            raise CommandError(f"--{name.replace('_', '-')} is fixed for a run that is resumed")
    with bad_input(ValueError, OSError, ImportError):
        record = runs.read_config(folder)
        if arguments.env_id and not same_env(arguments.env_id, record.env_id):
            raise CommandError(f"{folder} holds a run on {record.env_id}, not on {arguments.env_id}")
        if arguments.timesteps is not None:
            if arguments.timesteps < 1:
                raise CommandError(f"--timesteps must be at least 1, not {arguments.timesteps}")
            record = replace(record, n_timesteps=arguments.timesteps)
        record = replace(record, device=checked_device(arguments.device or record.device))
        path = runs.find_model(folder)
        wandb_run = wandb_record(arguments, folder, record.others.get("wandb"))
        if wandb_run is not None:
            record = replace(record, others={**record.others, "wandb": wandb_run})
    env = make_env(record.env_id, record.env_kwargs, record.n_envs, record.seed)
    with bad_input(ValueError, OSError):
        model = runs.load_model(path, record.algo, env, record.device)
    done, total = model.num_timesteps, record.n_timesteps
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
    if not isinstance(model, SupervisedMetaLearner):  # which goes on drawing where it stood
        # Loading a model seeds it as at the start of the run: without a new seed it would see the same
        # episodes.
        model.set_random_seed(int(np.random.SeedSequence([record.seed, done]).generate_state(1)[0] // 2))
    print(f"Resuming {_description(record, model)} from step {done:,}, stored in {folder}", flush=True)
    with tracked(record, folder, tqdm.write, on=wandb_run is not None) as tracking:
        return _learn(model, folder, record, progress, tracking)


def _learn(
    model: BaseAlgorithm,
    folder: Path,
    record: RunRecord,
    old: Sequence[dict[str, str]] = (),
    tracking: WandbOutput | None = None,
) -> int:
    """Train up to the run's number of steps; leave model and figures behind even when interrupted.

    `old` rows of the progress log are kept.
    """
    levels = reference_levels(record.env_id, record.env_kwargs)
    shown = {name: levels[name] for name in _SHOWN_LEVELS if name in levels} or levels
    if shown:
        print("For comparison: " + ", ".join(f"{name} {level:.4g}" for name, level in shown.items()))
    logger = runs.progress_logger(folder, old)
    model.set_logger(logger)
    episodes = EpisodeLogCallback(folder, record.env_id)
    progress = ProgressCallback(shown)
    callbacks = [episodes, progress, SaveModelCallback(folder / runs.MODEL)]
    if plastic_modules(model.policy):
        callbacks.append(PlasticityCallback(image_freq=None if tracking is None else 100_000))
    if tracking is not None:
        logger.output_formats.append(tracking)
    steps_before, start, interrupted = model.num_timesteps, time.monotonic(), False
    try:
        model.learn(
            record.n_timesteps - steps_before,
            callback=callbacks,
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
    if interrupted:
        print(f"\nInterrupted at step {model.num_timesteps:,} of {record.n_timesteps:,}: the model is saved.")
        print(f"To go on: plastic-rl train --resume {shlex.quote(str(folder))}")
    # What comes after a training that has ended is of no account for how it ended.
    assert model.env is not None
    with _noted("the environment was not closed"):
        model.env.close()
    with _noted(f"no {runs.CURVE}"):
        _draw_curve(folder, record, levels)
    with _noted(f"no {runs.EPISODE}"):
        episode = record_episode(model, record.env_id, record.env_kwargs, record.seed)
        save_gif(episode.frames, folder / runs.EPISODE)
    if tracking is not None:
        with _noted("the results were not tracked"):
            tracking.log_results(model)
    steps = model.num_timesteps - steps_before
    print(f"{steps:,} steps in {seconds:,.1f} s ({steps / seconds:,.0f} steps/s), stored in {folder}")
    if interrupted:
        return 130
    supervised = isinstance(model, SupervisedMetaLearner)
    last = [info["r"] for info in model.ep_info_buffer or []]
    if last:
        comparison = "".join(f", {name} {level:.4g}" for name, level in shown.items())
        mean = f"{safe_mean(last):.4f}" if supervised else f"{safe_mean(last):.2f}"
        print(f"Mean return of the last {len(last)} training episodes: {mean}{comparison}")
    what = shlex.join([str(folder), record.env_id])
    unseen = supervised and getattr(task_of(model.env), "split", None) == "train"
    print(f"Next: plastic-rl evaluate {what}{' --env-kwargs split:test' if unseen else ''}")
    print(f"      plastic-rl watch {what} --output episode.gif")
    return 0


@contextmanager
def _noted(what: str) -> Iterator[None]:
    """Turn whatever goes wrong inside, Ctrl-C included, into one note that begins with `what`."""
    try:
        yield
    except RenderError as error:
        print(f"Note: {what}: {error}")
    except KeyboardInterrupt:
        print(f"Note: {what}: interrupted")
    except Exception as error:
        print(f"Note: {what}: {type(error).__name__}: {' '.join(str(error).split())}")


def _draw_curve(folder: Path, record: RunRecord, levels: dict[str, float]) -> None:
    if not (folder / runs.MONITOR).is_file() or not len(runs.read_monitor(folder / runs.MONITOR)["r"]):
        print(f"Note: no episode has finished yet, so there is no {runs.CURVE}")
        return
    drawn = {name: levels[name] for name in _DRAWN_LEVELS if name in levels} or levels
    title = f"{record.algo} on {shown_env(record.env_id, record.env_kwargs)}, seed {record.seed}"
    learning_curve(folder / runs.MONITOR, folder / runs.CURVE, drawn, title)


def _log_interval(model: Any) -> int:
    """Rollouts between two rows of the log: about 2,000 steps, however short the rollouts are."""
    if isinstance(model, SupervisedMetaLearner):
        # A hundred times as quick: what counts is the number of updates.
        return 10
    return max(1, 2000 // (model.n_steps * model.n_envs))


def _description(record: RunRecord, model: BaseAlgorithm) -> str:
    env = shown_env(record.env_id, record.env_kwargs)
    if isinstance(model, SupervisedMetaLearner):
        batches = f"batches of {model.batch_size} episodes"
    else:
        batches = f"{record.n_envs} environments"
    run = f"{record.n_timesteps:,} steps, {batches}, seed {record.seed}"
    return f"{record.algo} on {env}: {run}, {model.device},"
