"""How a training begins: a new one from what was typed, a resumed one from what its folder holds."""

import argparse
import secrets
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.session import Session
from plastic_rl.cli.stops import Stops
from plastic_rl.cli.user_input import (
    agreed,
    arguments_fit,
    bad_input,
    check_import,
    checked_device,
    checked_seed,
    make_env,
    same_env,
)
from plastic_rl.runs import folder as runs
from plastic_rl.runs.callbacks import SAVE_EVERY
from plastic_rl.runs.checkpoint import clear_up, restore_training
from plastic_rl.runs.hyperparams import ALGORITHMS, RunConfig, algorithm_class, default_algorithm, load_config
from plastic_rl.runs.lock import locked
from plastic_rl.runs.output import say
from plastic_rl.runs.plain_yaml import parse_pairs
from plastic_rl.runs.record import MAX_SEED, RunRecord
from plastic_rl.runs.statistics import load_statistics, normalized
from plastic_rl.saving.versions import versions
from plastic_rl.tracking.options import TrackingOptions
from plastic_rl.tracking.tracker import planned
from plastic_rl.training.description import describe
from plastic_rl.training.distributed import Processes, join
from plastic_rl.training.learner import GradientLearner
from plastic_rl.training.supervised import SupervisedMetaLearner

# What a resumed run has from its beginning.
_FIXED = ("algo", "config", "n_envs", "vec_env", "env_kwargs", "hyperparams", "seed", "output")


def new(arguments: argparse.Namespace, tracking: TrackingOptions, stops: Stops) -> int:
    """Train a new agent; the exit code."""
    with bad_input(ValueError):
        processes = join()
    seed = processes.from_first(secrets.randbelow(MAX_SEED))
    folder, plans = Path(), dict[str, dict[str, Any]]()
    with agreed(processes):
        with bad_input(ValueError, OSError, ImportError):
            env_kwargs = parse_pairs(arguments.env_kwargs)
            config = _config(arguments, env_kwargs)
            own_envs = _own_envs(config.algo, config.n_envs, processes)
            seed = seed if arguments.seed is None else checked_seed(arguments.seed)
            device = checked_device(arguments.device or "auto")
            if processes.first:
                folder = arguments.output or runs.next_free_folder(config.algo, config.env_id)
                runs.check_new_folder(folder)
                plans = planned(tracking, folder, {})
        env = make_env(config.env_id, env_kwargs, own_envs, seed, arguments.vec_env)
        env = _normalized(env, config)
    record = RunRecord(
        env_id=config.env_id,
        env_kwargs=env_kwargs,
        algo=config.algo,
        seed=seed,
        device=device,
        n_envs=config.n_envs,
        vec_env=arguments.vec_env,
        n_timesteps=config.n_timesteps,
        hyperparams=config.hyperparams,
        normalize=config.normalize,
        hyperparams_file=str(config.source),
        versions=versions(),
        others=plans,
    )
    model = untrained(record, env, config.source)
    with ExitStack() as held:
        with agreed(processes), bad_input(OSError):
            if processes.first:
                runs.create_folder(folder, record)
                held.enter_context(locked(folder))
                # From here on the run can be resumed with what it began with.
                runs.save_model(model, folder / runs.MODEL)
        return Session(model, folder, record, stops, _save_every(arguments)).run(plans)


def resumed(arguments: argparse.Namespace, tracking: TrackingOptions, stops: Stops) -> int:
    """Go on with the run in a folder; the exit code."""
    folder: Path = arguments.resume
    for name in _FIXED:
        if getattr(arguments, name) not in (None, []):
            raise CommandError(f"--{name.replace('_', '-')} is fixed for a run that is resumed")
    with bad_input(ValueError):
        processes = join()
    with ExitStack() as held:
        with agreed(processes), bad_input(ValueError, OSError):
            runs.read_config(folder)  # the lock is a file in the folder, which should be a run's
            if processes.first:
                held.enter_context(locked(folder))
        return _go_on(arguments, tracking, stops, processes)


def _go_on(
    arguments: argparse.Namespace, tracking: TrackingOptions, stops: Stops, processes: Processes
) -> int:
    folder: Path = arguments.resume
    path = folder / runs.MODEL
    plans: dict[str, dict[str, Any]] = {}
    with agreed(processes):
        with bad_input(ValueError, OSError, ImportError):
            record = _asked_for(arguments)
            own_envs = _own_envs(record.algo, record.n_envs, processes)
            if processes.first:
                plans = planned(tracking, folder, record.others)
                record = replace(record, others={**record.others, **plans})
        env = make_env(record.env_id, record.env_kwargs, own_envs, record.seed, record.vec_env)
        env = _normalized(env, record)
        saved = path.is_file()
        if saved:
            with bad_input(ValueError, OSError):
                load_statistics(env, folder)
    if saved:
        with bad_input(ValueError, OSError):
            model = runs.load_model(path, record.algo, env, record.device, arguments.trust)
    else:
        # Its first process died before it could save anything.
        model = untrained(record, env, folder / runs.CONFIG)
    done, total = model.num_timesteps, record.n_timesteps
    if done >= total:
        env.close()
        if processes.first:
            print(
                f"Nothing left to do: {done:,} of {total:,} steps are done; "
                "give --timesteps N to train longer."
            )
        return 0
    rows: list[dict[str, str]] = []
    with agreed(processes), bad_input(ValueError, OSError):
        # All is read before anything is written.
        goes_on = saved and restore_training(model, path)
        if processes.first:
            rows = runs.read_progress(folder, done)
            episodes = getattr(model, "logged_episodes", 0)
            monitor = runs.trimmed_monitor(folder, episodes)
            if episodes:
                before = [count for count in record.resumed or [] if count < episodes]
                record = replace(record, resumed=[*before, episodes])
            clear_up(folder)
            runs.update_config(folder, record)
            runs.write_monitor(folder, monitor)
            if not saved:
                runs.save_model(model, path)
    if done and not goes_on and not (describe(model).resumes_exactly and processes.alone):
        # Loading a model seeds it as at the start of the run: without a new seed it would see the same
        # episodes.
        model.set_random_seed(int(np.random.SeedSequence([record.seed, done]).generate_state(1)[0] // 2))
        if processes.first:
            say("New episodes begin: the states of those that the training was in were not saved.")
    return Session(model, folder, record, stops, _save_every(arguments), rows).run(plans)


def _asked_for(arguments: argparse.Namespace) -> RunRecord:
    """The record of the run in a folder, with what was typed for the rest of it."""
    folder: Path = arguments.resume
    record = runs.read_config(folder)
    if arguments.env_id and not same_env(arguments.env_id, record.env_id):
        raise CommandError(f"{folder} holds a run on {record.env_id}, not on {arguments.env_id}")
    check_import(record.env_id, arguments.env_id, arguments.trust, folder)
    if arguments.timesteps is not None:
        if arguments.timesteps < 1:
            raise CommandError(f"--timesteps must be at least 1, not {arguments.timesteps}")
        record = replace(record, n_timesteps=arguments.timesteps)
    return replace(record, device=checked_device(arguments.device or record.device))


def _own_envs(algo: str, n_envs: int, processes: Processes) -> int:
    """How many of a run's environments this process has.

    Raises:
        ValueError: not every process has one, or the algorithm trains in one process only.
    """
    if processes.alone:
        return n_envs
    known = [name for name in ALGORITHMS if issubclass(algorithm_class(name), GradientLearner)]
    if algo not in known:
        raise ValueError(f"--algo {algo} trains in one process: several train {', '.join(known)}")
    # Of whole episodes it is the batches that are shared.
    whole = issubclass(algorithm_class(algo), SupervisedMetaLearner)
    return n_envs if whole else processes.share("n_envs", n_envs)


def _normalized(env: VecEnv, run: RunConfig | RunRecord) -> VecEnv:
    with bad_input(ValueError):
        return normalized(env, run.normalize, run.hyperparams.get("gamma", 0.99))


def untrained(record: RunRecord, env: VecEnv, source: Path) -> BaseAlgorithm:
    """The model that a run begins with."""
    config = RunConfig(
        env_id=record.env_id,
        algo=record.algo,
        n_envs=record.n_envs,
        n_timesteps=record.n_timesteps,
        hyperparams=record.hyperparams,
        source=source,
    )
    with arguments_fit(record.hyperparams.get("policy_kwargs") or {}, "policy_kwargs"):
        return algorithm_class(record.algo)(
            env=env, seed=record.seed, device=record.device, **config.kwargs()
        )


def _save_every(arguments: argparse.Namespace) -> float:
    return SAVE_EVERY if arguments.save_every is None else arguments.save_every


def _config(arguments: argparse.Namespace, env_kwargs: dict[str, object]) -> RunConfig:
    """The hyper-parameters of a new run: the file's, under what was typed."""
    overrides = parse_pairs(arguments.hyperparams)
    given = {"n_timesteps": arguments.timesteps, "n_envs": arguments.n_envs}
    overrides |= {key: value for key, value in given.items() if value is not None}
    algo = arguments.algo
    if algo is None:
        with arguments_fit(env_kwargs, f"the arguments of {arguments.env_id}"):
            algo = default_algorithm(arguments.env_id, env_kwargs)
    return load_config(arguments.env_id, algo, arguments.config, overrides)
