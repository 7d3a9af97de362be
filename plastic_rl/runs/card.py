"""The card of an agent: what it is, how well it plays, and how it was trained."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plastic_rl.envs import reference_levels
from plastic_rl.runs.plain_yaml import dump_yaml
from plastic_rl.runs.record import RunRecord

_TEXT = """
# {title}

An agent of `plastic_rl` ({algo}), trained for {steps:,} steps of `{env_id}`{env_kwargs}.

**Mean return {mean:g}**, 95 % interval {low:g} to {high:g}, over {episodes} episodes ({actions} actions, seed
{seed}).{levels}
{pictures}
## Use it

```python
import plastic_rl

model = plastic_rl.load_pretrained("hub:{repo}")
```

or `plastic-rl evaluate hub:{repo}`, `watch hub:{repo}`, `export hub:{repo}`.

The model file holds settings as JSON and numbers as safetensors: loading it runs no code.

## How it was trained

```bash
{command}
```

| | |
|---|---|
{versions}
"""


def card(
    record: RunRecord, score: Mapping[str, Any], repo: str, n_steps: int, pictures: Sequence[str] = ()
) -> str:
    """The card as Markdown, with the head that the hub reads.

    Args:
        record: of the run.
        score: as `plastic_rl.runs.score.score` gives it.
        repo: where it will lie.
        n_steps: that the agent was trained for.
        pictures: files beside it to show.
    """
    low, high = score["interval"]
    levels = reference_levels(record.env_id, record.env_kwargs)
    compared = ", ".join(f"{name} {level:.4g}" for name, level in levels.items())
    result = {
        "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
        "dataset": {"name": record.env_id, "type": record.env_id},
        "metrics": [
            {
                "type": "mean_reward",
                "value": f"{score['mean_return']:g} [{low:g}, {high:g}]",
                "name": "mean_reward",
                "verified": False,
            }
        ],
    }
    head = {
        "library_name": "plastic_rl",
        "tags": [record.env_id, "reinforcement-learning", "meta-learning", "differentiable-plasticity"],
        "model-index": [{"name": f"{record.algo} on {record.env_id}", "results": [result]}],
    }
    text = _TEXT.format(
        title=f"{record.algo} on {record.env_id}",
        algo=f"`{record.algo}`",
        steps=n_steps,
        env_id=record.env_id,
        env_kwargs=f" with `{json.dumps(record.env_kwargs)}`" if record.env_kwargs else "",
        mean=score["mean_return"],
        low=low,
        high=high,
        episodes=score["episodes"],
        actions=score["actions"],
        seed=score["seed"],
        levels=f" For comparison: {compared}." if compared else "",
        pictures="".join(f"\n![{name.partition('.')[0].replace('_', ' ')}]({name})\n" for name in pictures),
        repo=repo,
        command=command(record),
        versions="\n".join(f"| {name} | {version} |" for name, version in record.versions.items()),
    )
    return f"---\n{dump_yaml(head)}---\n{text}"


def command(record: RunRecord) -> str:
    """The line that starts the same training, all of its hyper-parameters named."""
    words = ["plastic-rl", "train", record.env_id, "--algo", record.algo, "--seed", str(record.seed)]
    words += ["--timesteps", str(record.n_timesteps), "--n-envs", str(record.n_envs)]
    if record.env_kwargs:
        words += ["--env-kwargs", *_pairs(record.env_kwargs)]
    settings = dict(record.hyperparams)
    if record.normalize is not None:
        settings["normalize"] = record.normalize or True
    return shlex.join([*words, "--hyperparams", *_pairs(settings)])


def _pairs(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """``key:value`` for each value, as the command line takes them; JSON is YAML, too."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _pairs(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{prefix}{key}:{text}"
