"""The record of a run: what it was started with, as its folder keeps it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from plastic_rl.arguments import is_integer, split_env_id
from plastic_rl.runs.hyperparams import ALGORITHMS
from plastic_rl.runs.normalize import check_normalize
from plastic_rl.runs.plain_yaml import check_names, dump_yaml, load_yaml

MAX_SEED = 2**31
"""Seeds of runs lie below."""

VEC_ENVS = ("dummy", "subproc")
"""Ways to step single environments, as RL-Zoo calls them: one after the other, or each in a process."""

# What a record cannot do without, in the order in which it is asked for.
_NEEDED = {
    "algo": str,
    "env_id": str,
    "env_kwargs": dict,
    "n_envs": int,
    "n_timesteps": int,
    "seed": int,
    "hyperparams": dict,
}


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run was started with: enough to build its environment and its untrained model again.

    Attributes:
        condition: what whoever started several runs calls this one, if anything.
        env_id: the environment's id.
        env_kwargs: its arguments.
        algo: one of `ALGORITHMS`.
        seed: at least 0 and below `MAX_SEED`.
        device: of torch.
        n_envs: number of environments stepped together, at least 1.
        vec_env: one of `VEC_ENVS`; None for the batched environment where there is one, else ``dummy``.
        n_timesteps: environment steps of the whole training, at least 1.
        hyperparams: the algorithm's constructor arguments as plain YAML values.
        normalize: arguments of `VecNormalize` around the environments, None for none.
        hyperparams_file: the file that they were read from, if any.
        versions: of what results depend on, by name.
        resumed: how many episodes were over whenever the training was resumed; None if it never was.
        others: what else is kept beside these, by name: a tracker's own record, a benchmark's notes.

    Raises:
        ValueError: an attribute of the wrong kind, or outside its range.
    """

    condition: str | None = None
    env_id: str
    env_kwargs: dict[str, Any]
    algo: str
    seed: int
    device: str = "auto"
    n_envs: int
    vec_env: str | None = None
    n_timesteps: int
    hyperparams: dict[str, Any]
    normalize: dict[str, Any] | None = None
    hyperparams_file: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    resumed: list[int] | None = None
    others: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in _NEEDED.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ValueError(f"{name} is missing or wrong")
        if self.algo not in ALGORITHMS:
            raise ValueError(f"unknown algorithm {self.algo!r}, not one of {', '.join(ALGORITHMS)}")
        check_names(self.env_kwargs, "env_kwargs")
        object.__setattr__(self, "normalize", check_normalize(self.normalize))
        in_range = {
            "n_envs": self.n_envs >= 1,
            "vec_env": self.vec_env is None or self.vec_env in VEC_ENVS,
            "n_timesteps": self.n_timesteps >= 1,
            "seed": 0 <= self.seed < MAX_SEED,
            "device": isinstance(self.device, str),
            "condition": isinstance(self.condition, str | None),
            "hyperparams_file": isinstance(self.hyperparams_file, str | None),
            "versions": isinstance(self.versions, dict),
            "resumed": self.resumed is None or _are_counts(self.resumed),
        }
        for name, fine in in_range.items():
            if not fine:
                raise ValueError(f"{name} is {getattr(self, name)!r}")

    @classmethod
    def from_mapping(cls, content: object) -> RunRecord:
        """The record that `to_mapping` gave.

        Raises:
            ValueError: it is no mapping, or lacks something, or something in it is wrong.
        """
        if not isinstance(content, Mapping):
            raise ValueError("it is no mapping")
        names = {one.name for one in dataclasses.fields(cls)} - {"others"}
        given = {key: value for key, value in content.items() if key in names}
        others = {key: value for key, value in content.items() if key not in names}
        return cls(**{**dict.fromkeys(_NEEDED), **given}, others=others)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values by name, without what is not there; `others` among them, on the same level."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        others = values.pop("others")
        return {key: value for key, value in values.items() if value is not None} | others

    @classmethod
    def from_yaml(cls, text: str) -> RunRecord:
        """The record in a run's ``config.yml``.

        Raises:
            ValueError: the text is not YAML, or not a record.
        """
        try:
            content = load_yaml(text)
        except yaml.YAMLError as error:
            raise ValueError(f"not YAML: {error}") from error
        return cls.from_mapping(content)

    def to_yaml(self) -> str:
        """What `from_yaml` reads back unchanged."""
        return dump_yaml(self.to_mapping())


# Environments of Gymnasium that import what their arguments name.
_IMPORTING = ("GymV21Environment-v0", "GymV26Environment-v0")


def imports_more(env_id: str, named: str | None = None) -> bool:
    """Whether making an environment would import a module, and run its code, that nobody has named.

    Args:
        env_id: the environment, as a record names it.
        named: the id that the user has given, if any.
    """
    module, name = split_env_id(env_id)
    known = module in ("", "plastic_rl") or (named is not None and split_env_id(named)[0] == module)
    return not known or name in _IMPORTING


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(is_integer(value) and value >= 0 for value in values)
