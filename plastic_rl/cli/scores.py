"""What ``plastic-rl evaluate`` does: the score of a model, or of every run in a folder."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.saved import load_agent
from plastic_rl.cli.studies import find_runs, grouped
from plastic_rl.cli.user_input import bad_input, shown_env, shown_levels, shows_training_data
from plastic_rl.envs import reference_levels
from plastic_rl.runs import folder as runs
from plastic_rl.runs.progress import Progress
from plastic_rl.training.description import describe
from plastic_rl.training.evaluation import Evaluation, evaluate_episodes, mean_interval
from plastic_rl.training.evaluation import evaluate as evaluate_model
from plastic_rl.training.supervised import SupervisedMetaLearner


@dataclass(frozen=True)
class Scores:
    """How a model has played.

    Attributes:
        env_id: the environment.
        env_kwargs: its arguments.
        deterministic: whether the actions were the most probable ones.
        whole: whether it answers whole episodes.
        steps: of its training.
        weights: how many trained numbers it has.
        trained_on: whether these came from the data of the training.
        measures: by name.
    """

    env_id: str
    env_kwargs: dict[str, Any]
    deterministic: bool
    whole: bool
    steps: int
    weights: int
    trained_on: bool
    measures: Mapping[str, Evaluation]

    def plain(self, episodes: int, seed: int) -> dict[str, Any]:
        """It as JSON holds it."""
        return {
            "env_id": self.env_id,
            "env_kwargs": self.env_kwargs,
            "episodes": episodes,
            "seed": seed,
            "deterministic": self.whole or self.deterministic,
            "steps": self.steps,
            "weights": self.weights,
            "levels": reference_levels(self.env_id, self.env_kwargs),
            "measures": {name: _plain(result) for name, result in self.measures.items()},
        }


def evaluate(arguments: argparse.Namespace) -> int:
    """Print the score of a saved model, or those of all runs in a folder; the exit code."""
    path: Path = arguments.model
    holds_runs = path.is_dir() and not any((path / name).is_file() for name in (runs.CONFIG, runs.MODEL))
    if holds_runs and any(path.rglob(runs.CONFIG)):
        return _evaluate_runs(arguments)
    scores = _scores(arguments)
    if arguments.json:
        print(json.dumps(scores.plain(arguments.episodes, arguments.seed)))
        return 0
    print(_heading(scores, arguments))
    for name, result in scores.measures.items():
        print(_score(name, result, scores.whole))
    _print_notes(scores)
    return 0


def _evaluate_runs(arguments: argparse.Namespace) -> int:
    """A line for each run of a folder; of runs that differ in the seed only, the mean over them, too."""
    if arguments.env_id is None and arguments.algo is None:
        with bad_input(ValueError, OSError):
            records = {folder: runs.read_config(folder) for folder in find_runs(arguments.model)}
    else:
        raise CommandError("ENV_ID and --algo are those of each run where MODEL is a folder of runs")
    found = {}
    for folder in records:
        if not arguments.json:
            print(f"{folder}: ", end="", flush=True)
        found[folder] = scores = _scores(argparse.Namespace(**{**vars(arguments), "model": folder}))
        if not arguments.json:
            print(_heading(scores, arguments))
            for name, result in scores.measures.items():
                print(f"  {_score(name, result, scores.whole)}")
    groups = {
        label: {
            name: _over_runs([found[f].measures[name] for f in folders]) for name in _names(found, folders)
        }
        for label, folders in grouped(records).items()
    }
    if arguments.json:
        plain = [
            {"run": str(folder), **one.plain(arguments.episodes, arguments.seed)}
            for folder, one in found.items()
        ]
        print(json.dumps({"runs": plain, "groups": groups}))
        return 0
    for label, measures in groups.items():
        for name, over in measures.items():
            if over["runs"] > 1:
                low, high = over["interval"]
                print(
                    f"{label}: {name} of {over['runs']} runs, mean {over['mean']:.6g}, "
                    f"95 % interval over runs {low:.6g} to {high:.6g}"
                )
    _print_notes(next(iter(found.values())))
    return 0


def _names(found: Mapping[Path, Scores], folders: list[Path]) -> list[str]:
    """The measures that all of these runs have."""
    return [name for name in found[folders[0]].measures if all(name in found[f].measures for f in folders)]


def _over_runs(results: list[Evaluation]) -> dict[str, Any]:
    """The mean of runs' means, with its interval over runs, null for a single one."""
    means = [result.mean for result in results]
    interval = list(mean_interval(means)) if len(means) > 1 else None
    return {"runs": len(means), "mean": sum(means) / len(means), "interval": interval}


def _scores(arguments: argparse.Namespace) -> Scores:
    """Play the episodes that were asked for."""
    episodes, seed = arguments.episodes, arguments.seed
    model, env_id, env_kwargs = load_agent(arguments, min(arguments.n_envs, episodes))
    env = model.get_env()
    assert env is not None
    whole = describe(model).whole_episodes
    # Not where the result goes, which another program may read.
    progress = Progress(episodes, "episode", stream=sys.stderr, keep=False)

    def tell(done: int) -> None:
        progress.advance(done, lambda: env_id)

    try:
        if whole:
            learner = cast(SupervisedMetaLearner, model)
            measures = evaluate_episodes(learner, env, episodes, seed=seed, progress=tell)
        else:
            model.set_random_seed(seed)
            measures = {"return": evaluate_model(model, env, episodes, arguments.deterministic, tell)}
    finally:
        progress.close()
    trained_on = shows_training_data(model)
    env.close()
    return Scores(
        env_id,
        env_kwargs,
        arguments.deterministic,
        whole,
        steps=model.num_timesteps,
        weights=sum(one.numel() for one in model.policy.parameters() if one.requires_grad),
        trained_on=trained_on,
        measures=measures,
    )


def _heading(scores: Scores, arguments: argparse.Namespace) -> str:
    actions = "the most probable actions" if scores.deterministic else "actions sampled as in training"
    count = f"{arguments.episodes} episode{'s' if arguments.episodes > 1 else ''}"
    played = count if scores.whole else f"{count}, {actions}"
    return f"{shown_env(scores.env_id, scores.env_kwargs)}: {played}, seed {arguments.seed}"


def _print_notes(scores: Scores) -> None:
    levels = reference_levels(scores.env_id, scores.env_kwargs)
    if levels:
        print(f"for comparison: {shown_levels(levels)}")
    if scores.trained_on:
        print("Note: that is the data of the training; --env-kwargs split:test evaluates on unseen data")


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
