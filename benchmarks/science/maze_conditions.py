"""The maze with full, homogeneous and no plasticity, with neuromodulation, and with an LSTM of the same size.

    python -m benchmarks.science.maze_conditions [--env-id PlasticMaze-v0] [--conditions full none ...]
        [--seeds 0 1 2 3 4] [--episodes 60000] [--jobs 2] [--output runs/conditions]

All conditions are trained by the same algorithm, PlasticA2C, with the settings of zoo_configs/plastic_a2c.yml
(or --config) and what maze_conditions.yml changes in them. Every run has a folder of its own,
<output>/<environment>/<condition>/seed_<n>, which `plastic-rl plot` and `evaluate` can read. Ctrl-C leaves
every run resumable: the same command goes on where it stopped, skips what is finished, and with more
--episodes trains finished runs further.

At the end, or with --report-only at any time, it draws <output>/<environment>/curves.png and writes table.md
there (see maze_report.py). Final scores are of the trained agents on 256 lifetimes of fixed seeds, with
sampled actions. The paper's comparison has 15 seeds of 1,000,000 episodes.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

import plastic_rl
from benchmarks.science import maze_report
from examples import own_core
from plastic_rl.analysis.lifetime import record_lifetimes
from plastic_rl.policies import CoreOptions
from plastic_rl.runs import folder as runs
from plastic_rl.runs.callbacks import EpisodeLogCallback, SaveModelCallback
from plastic_rl.runs.hyperparams import RunConfig, load_config
from plastic_rl.runs.plain_yaml import load_yaml, merge
from plastic_rl.runs.record import RunRecord
from plastic_rl.saving.versions import versions

STEPS = 250
EVALUATION_SEED = 1_000_000
EVALUATION_EPISODES = 256
CONDITIONS_FILE = Path(__file__).with_suffix(".yml")
_OF_PLASTICITY = {field.name for field in fields(CoreOptions)}


@dataclass(frozen=True)
class Task:
    """One training: a condition, a seed, and all that they need."""

    condition: str
    seed: int
    episodes: int
    config: RunConfig
    folder: Path

    @property
    def steps(self) -> int:
        """Environment steps of the training."""
        return self.episodes * STEPS

    def check_settings(self) -> None:
        """Make sure that what the folder holds was trained with these settings.

        Raises:
            ValueError: it was not.
        """
        if (self.folder / runs.CONFIG).is_file():
            record = runs.read_config(self.folder)
            if (record.hyperparams, record.n_envs) != (self.config.hyperparams, self.config.n_envs):
                raise ValueError(f"{self.folder} was trained with other settings: choose another --output")

    def finished(self) -> bool:
        """Whether the run has been trained for so many episodes and evaluated."""
        path = self.folder / maze_report.RESULT
        return path.is_file() and json.loads(path.read_text())["episodes"] >= self.episodes


class Watch(BaseCallback):
    """Reports to the parent process, and stops the training when asked to.

    Args:
        progress: two numbers shared with the parent: steps done, mean return of late.
    """

    def __init__(self, progress: Any) -> None:
        super().__init__()
        self.progress = progress
        self.stop = False

    def _on_step(self) -> bool:
        self.progress[0] = self.num_timesteps
        return not self.stop

    def _on_rollout_start(self) -> None:
        recent = [info["r"] for info in self.model.ep_info_buffer or []]
        self.progress[1] = np.mean(recent) if recent else np.nan


def condition_config(
    condition: str, env_id: str, config: Path | None = None, conditions_file: Path = CONDITIONS_FILE
) -> RunConfig:
    """The settings of a condition, checked.

    Raises:
        ValueError: there is no such condition, or a setting is wrong.
        FileNotFoundError: one of the files does not exist.
    """
    conditions = load_yaml(conditions_file.read_text(encoding="utf-8"))
    if condition not in conditions:
        known = ", ".join(name for name in conditions if "/" not in name)
        raise ValueError(f"unknown condition {condition!r}: {conditions_file} has {known}")
    overrides = merge(conditions[condition], conditions.get(f"{condition}/{env_id}", {}))
    return load_config(env_id, "plastic_a2c", config, overrides)


def lstm_size(observation_space: spaces.Box, n_actions: int, n_weights: int) -> int:
    """The number of units with which an LSTM policy for these spaces is nearest to so many weights."""
    (features,) = observation_space.shape

    def weights(n: int) -> int:
        return 4 * n * (features + n + 2) + (n + 1) * (n_actions + 1)

    n = 1
    while abs(weights(n + 1) - n_weights) <= abs(weights(n) - n_weights):
        n += 1
    return n


def count_weights(policy: Any) -> int:
    """The number of trained numbers in a policy."""
    return sum(parameter.numel() for parameter in policy.parameters() if parameter.requires_grad)


def make_model(condition: str, config: RunConfig, env: Any, seed: int) -> plastic_rl.PlasticA2C:
    """The untrained agent; an LSTM gets as many units as make it as large as the plastic network."""
    kwargs = config.kwargs()
    model = plastic_rl.PlasticA2C(env=env, **kwargs, seed=seed, device="cpu")
    if condition != "lstm":
        return model
    given = kwargs.get("policy_kwargs") or {}
    size = lstm_size(env.observation_space, env.action_space.n, count_weights(model.policy))
    kept = {key: value for key, value in given.items() if key not in _OF_PLASTICITY}
    kwargs |= {"policy": own_core.LstmPolicy, "policy_kwargs": {**kept, "hidden_size": size}}
    return plastic_rl.PlasticA2C(env=env, **kwargs, seed=seed, device="cpu")


def train(task: Task, watch: Watch) -> None:
    """Train and evaluate one run, from where its folder says that it stands; save it when it is stopped."""
    folder, config = task.folder, task.config
    env = plastic_rl.make_vec_env(config.env_id, config.n_envs, task.seed, env_kwargs={"render_mode": None})
    path = folder / runs.MODEL
    if path.is_file():
        model = runs.load_model(path, "plastic_a2c", env, "cpu")
        assert isinstance(model, plastic_rl.PlasticA2C)
        done = model.num_timesteps
        rows = runs.read_progress(folder, done)
        runs.update_config(folder, replace(runs.read_config(folder), n_timesteps=max(done, task.steps)))
        runs.write_monitor(folder, runs.trimmed_monitor(folder, getattr(model, "logged_episodes", 0)))
        # Loading seeds a model as at the start of the run: it would see the same episodes again.
        model.set_random_seed(int(np.random.SeedSequence([task.seed, done]).generate_state(1)[0] // 2))
    else:
        model, done, rows = make_model(task.condition, config, env, task.seed), 0, []
        # Of a run that was killed before it saved a model.
        (folder / runs.MONITOR).unlink(missing_ok=True)
        (folder / runs.CONFIG).unlink(missing_ok=True)
        record = RunRecord(
            condition=task.condition,
            env_id=config.env_id,
            env_kwargs={},
            algo="plastic_a2c",
            seed=task.seed,
            device="cpu",
            n_envs=config.n_envs,
            n_timesteps=task.steps,
            hyperparams=config.hyperparams,
            hyperparams_file=str(config.source),
            versions=versions(),
            others={"weights": count_weights(model.policy)},
        )
        runs.create_folder(folder, record)
    if done < task.steps:
        logger = runs.progress_logger(folder, rows)
        model.set_logger(logger)
        episodes = EpisodeLogCallback(folder, config.env_id)
        try:
            model.learn(
                task.steps - done,
                callback=[episodes, SaveModelCallback(path, every=60.0), watch],
                log_interval=max(1, 20_000 // (model.n_steps * model.n_envs)),
                reset_num_timesteps=done == 0,
            )
        finally:
            episodes.close()
            logger.close()
        runs.save_model(model, path)
    env.close()
    if not watch.stop:
        _evaluate(model, task)


def _evaluate(model: plastic_rl.PlasticA2C, task: Task) -> None:
    lives = record_lifetimes(
        model, task.config.env_id, episodes=EVALUATION_EPISODES, seed=EVALUATION_SEED, deterministic=False
    )
    result = {
        "episodes": task.episodes,
        "weights": count_weights(model.policy),
        "returns": lives.returns.round(2).tolist(),
        "second_half_returns": lives.second_half_returns.round(2).tolist(),
        "hits": lives.hits.sum(axis=0).tolist(),
    }
    (task.folder / maze_report.RESULT).write_text(json.dumps(result), encoding="utf-8")


def _train_process(task: Task, progress: Any) -> None:
    torch.set_num_threads(1)
    watch = Watch(progress)
    # Ctrl-C reaches the whole process group, the parent's request only this process: both end the same way.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(watch, "stop", True))
    try:
        train(task, watch)
    except Exception:
        task.folder.mkdir(parents=True, exist_ok=True)
        (task.folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        sys.exit(1)


def run_all(tasks: Sequence[Task], jobs: int) -> list[Task]:
    """Train the tasks in so many processes of one thread each, under a progress bar.

    Returns:
        The tasks that failed; their folders hold the reason in error.txt.

    Raises:
        KeyboardInterrupt: after all processes have saved their models.
    """
    # Children read these when they import torch and numba.
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    context = multiprocessing.get_context("spawn")
    waiting, failed = list(tasks), []
    running: dict[TaskID, tuple[Task, Any, Any]] = {}
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} episodes"),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[score]}"),
    )
    with Progress(*columns) as bars:
        whole = bars.add_task(f"{len(tasks)} runs", total=sum(task.episodes for task in tasks), score="")
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    task, progress = waiting.pop(0), context.Array("d", [0.0, np.nan])
                    process = context.Process(target=_train_process, args=(task, progress))
                    process.start()
                    name = f"{task.condition}, seed {task.seed}"
                    running[bars.add_task(name, total=task.episodes, score="")] = (task, process, progress)
                time.sleep(0.5)
                for row, (task, process, progress) in list(running.items()):
                    bars.update(
                        row, completed=progress[0] / STEPS, score=f"mean return of late {progress[1]:.1f}"
                    )
                    if not process.is_alive():
                        failed += [task] if process.exitcode else []
                        del running[row]
                        bars.stop_task(row)
                seen = sum(bar.completed for bar in bars.tasks if bar.id != whole)
                bars.update(whole, completed=seen)
        finally:
            for _, process, _ in running.values():
                process.terminate()
            for _, process, _ in running.values():
                process.join()
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env-id", default="PlasticMaze-v0")
    parser.add_argument("--conditions", nargs="+", default=list(maze_report.NAMES), choices=maze_report.NAMES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--episodes", type=int, default=60_000, help="of training, per run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes of one thread each")
    parser.add_argument("--config", type=Path, help="settings file instead of zoo_configs/plastic_a2c.yml")
    parser.add_argument("--conditions-file", type=Path, default=CONDITIONS_FILE)
    parser.add_argument("--output", type=Path, default=Path("runs/conditions"))
    parser.add_argument("--report-only", action="store_true", help="draw and write what is there")
    arguments = parser.parse_args()
    if arguments.episodes < 1 or arguments.jobs < 1 or min(arguments.seeds) < 0:
        parser.error("--episodes and --jobs must be at least 1, --seeds at least 0")
    folder = arguments.output / arguments.env_id
    try:
        configs = {
            name: condition_config(name, arguments.env_id, arguments.config, arguments.conditions_file)
            for name in arguments.conditions
        }
    except (ValueError, OSError) as error:
        parser.error(str(error))
    # Seed by seed, so that an unfinished comparison still compares.
    tasks = [
        Task(name, seed, arguments.episodes, config, folder / name / f"seed_{seed}")
        for seed in arguments.seeds
        for name, config in configs.items()
    ]
    failed: list[Task] = []
    if not arguments.report_only:
        try:
            for task in tasks:
                task.check_settings()
        except (ValueError, OSError) as error:
            parser.error(str(error))
        left = [task for task in tasks if not task.finished()]
        print(f"{len(tasks) - len(left)} of {len(tasks)} runs are finished; all lie in {folder}")
        try:
            failed = run_all(left, arguments.jobs)
        except KeyboardInterrupt:
            print("Interrupted: every run is saved; the same command goes on.")
            return 130
    for task in failed:
        print(f"failed: {task.condition}, seed {task.seed}: see {task.folder / 'error.txt'}", file=sys.stderr)
    print(maze_report.write_report(folder, arguments.conditions))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
