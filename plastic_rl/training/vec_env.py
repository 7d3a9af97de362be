"""Batched Gymnasium environments for Stable-Baselines3.

A Gymnasium `VectorEnv` steps all of its environments in one call; Stable-Baselines3 wants its own `VecEnv`.
`GymnasiumVecEnv` is the adaptor between the two, and `make_vec_env` takes it wherever an environment has a
batched form that fits.
"""

import functools
import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from plastic_rl.arguments import check_action_space, check_count, check_observation_space, split_env_id
from plastic_rl.training.batch_infos import BatchMonitor, split_infos
from plastic_rl.training.partial_resets import layers, with_partial_resets

_FINAL_KEYS = ("final_obs", "final_info")  # of the episodes that ended in this step


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium `VectorEnv` seen as a Stable-Baselines3 `VecEnv`.

    It behaves as `DummyVecEnv` over the same environments does: `step` returns observations, float32 rewards,
    dones and one independent info per environment. The step that ends an episode returns the next episode's
    first observation, and the old one's last as `info["terminal_observation"]`. `info["TimeLimit.truncated"]`
    is true where an episode was cut off without terminating in the same step. `reset_infos` holds what the
    latest resets reported. Seeds and options count for the next `reset` only. Returned arrays never change.

    Attributes and methods belong to the batch as a whole: `get_attr` returns the same value for every index,
    `set_attr` and `env_method` refuse to act on some of the environments only.

    Where an episode has ended in a batch that resets itself at the next step (NEXT_STEP, Gymnasium's own
    default), that environment is reset at once: the step that only resets, whose action nobody takes, is
    never made. `SyncVectorEnv`, `AsyncVectorEnv` and a synchronous EnvPool can do that. Any other batch that
    `gymnasium.make_vec` made, and that no wrapper surrounds, is closed and made again from its specification
    as a `SyncVectorEnv`. A wrapper that counts steps or keeps statistics would wait for the step that only
    resets, and take the first one of the next episode for it: it is refused.

    Args:
        env: the batched environment, with SAME_STEP or NEXT_STEP as its `metadata["autoreset_mode"]`.
            Observations are `Box`, `Discrete`, `MultiDiscrete`, `MultiBinary` or a `Dict` of those; actions
            one of the four.

    Raises:
        TypeError: `env` is no `VectorEnv`.
        ValueError: the environment resets itself in another mode, or at the next step without a way to reset
            some environments before, or with a wrapper around it that has a `step` or `reset` of its own.
        NotImplementedError: an observation or action space of another kind.
    """

    def __init__(self, env: VectorEnv) -> None:
        if not isinstance(env, VectorEnv):
            raise TypeError(f"env must be a gymnasium.vector.VectorEnv, got {type(env).__name__}")
        mode = env.metadata.get("autoreset_mode")
        if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
            raise ValueError(
                f"env must reset itself in the mode {AutoresetMode.SAME_STEP} or {AutoresetMode.NEXT_STEP}, "
                f"got {mode}"
            )
        self._resets_next_step = mode == AutoresetMode.NEXT_STEP
        if self._resets_next_step:
            env = with_partial_resets(env)
        check_observation_space(env.single_observation_space)
        check_action_space(env.single_action_space)
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = env.metadata
        self._actions = np.empty(0)

    @property
    def spec(self) -> EnvSpec | None:
        """The registered specification of the batched environment (`VecMonitor` writes its id)."""
        return self.env.spec

    def reset(self) -> VecEnvObs:
        """Start new episodes; return their observations (n_envs, ...), a dictionary for a `Dict` space."""
        # The batched environment counts up from the first seed by itself, as `VecEnv.seed` does.
        observations, infos = self.env.reset(seed=self._seeds[0], options=self._options[0] or None)
        self.reset_infos[:] = split_infos(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return _copy_observation(self.observation_space, observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions (n_envs, ...) for `step_wait`."""
        self._actions = np.asarray(actions)
        if self._actions.shape[:1] != (self.num_envs,):
            raise ValueError(f"actions must be of shape ({self.num_envs}, ...), got {self._actions.shape}")

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step: observations, rewards (n_envs,) float32, dones (n_envs,) bool and n_envs infos."""
        observations, rewards, terminated, truncated, batch_info = self.env.step(self._actions)
        dones = np.logical_or(terminated, truncated)
        now = {key: column for key, column in batch_info.items() if key.lstrip("_") not in _FINAL_KEYS}
        infos = split_infos(now, self.num_envs)
        rewards = np.array(rewards, dtype=np.float32)
        if np.count_nonzero(dones):
            if self._resets_next_step:
                # Before anything is written into the arrays that hold the last observations.
                final_obs, final_infos = _copy_observation(self.observation_space, observations), infos
                observations, now = self.env.reset(options={"reset_mask": dones})
                new_infos = split_infos(now, self.num_envs)
            else:
                # In a step that ends with a reset the plain keys are about the new episode.
                final_obs, new_infos = batch_info["final_obs"], infos
                final_infos = split_infos(batch_info.get("final_info", {}), self.num_envs)
            for i in np.flatnonzero(dones).tolist():
                info = final_infos[i]
                info["terminal_observation"] = _copy_observation(self.observation_space, _row(final_obs, i))
                self.reset_infos[i], infos[i] = new_infos[i], info
        infos.put("TimeLimit.truncated", (truncated & ~terminated).tolist())
        observations = _copy_observation(self.observation_space, observations)
        return observations, rewards, dones, infos

    def close(self) -> None:
        """Close the batched environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return one picture (height, width, 3) per environment; needs `render_mode="rgb_array"`."""
        if self.render_mode != "rgb_array":
            raise ValueError(f'get_images needs render_mode="rgb_array", got {self.render_mode!r}')
        return list(cast(tuple[np.ndarray, ...], self.env.render()))

    def set_options(self, options: list[dict] | dict | None = None) -> None:
        """Set the options of the next `reset`: a dictionary, or a list of equal ones, one per environment."""
        if isinstance(options, list) and options != options[:1] * self.num_envs:
            raise ValueError(f"options must be one dictionary or {self.num_envs} equal ones, got {options}")
        super().set_options(options)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the batch, once per index; spaces are those of one environment."""
        chosen = self._chosen(indices)
        name = f"single_{attr_name}" if attr_name in ("observation_space", "action_space") else attr_name
        return [getattr(self._owner(name), name)] * len(chosen)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute where a wrapper or the environment has it, else on the environment."""
        self._refuse_some(indices)
        owner = self._owner(attr_name) if self.has_attr(attr_name) else self.env.unwrapped
        setattr(owner, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the batched environment once; it must return None or one entry per environment."""
        self._refuse_some(indices)
        if method_name in ("reset", "step"):
            raise ValueError(f"method_name must not be {method_name!r}: call the VecEnv's own {method_name}")
        result = getattr(self._owner(method_name), method_name)(*method_args, **method_kwargs)
        if result is None:
            return [None] * self.num_envs
        if not isinstance(result, (list, tuple, np.ndarray)) or len(result) != self.num_envs:
            raise ValueError(f"{method_name!r} must return None or {self.num_envs} entries, got {result!r}")
        return list(result)

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Say whether such a wrapper is round the batch; wrappers of one environment never are."""
        wrapped = any(isinstance(layer, wrapper_class) for layer in layers(self.env)[:-1])
        return [wrapped] * len(self._chosen(indices))

    def _owner(self, name: str) -> VectorEnv:
        for layer in layers(self.env):
            if hasattr(layer, name):
                return layer
        raise AttributeError(f"{self.env} has no attribute {name!r}")

    def _chosen(self, indices: VecEnvIndices) -> list[int]:
        return [range(self.num_envs)[i] for i in self._get_indices(indices)]

    def _refuse_some(self, indices: VecEnvIndices) -> None:
        if set(self._chosen(indices)) != set(range(self.num_envs)):
            raise ValueError(f"indices must name all {self.num_envs} environments, got {indices!r}")


def make_vec_env(
    env_id: str | Callable[..., gym.Env],
    n_envs: int = 1,
    seed: int | None = None,
    start_index: int = 0,
    monitor_dir: str | None = None,
    wrapper_class: Callable[[gym.Env], gym.Env] | None = None,
    env_kwargs: dict[str, Any] | None = None,
    vec_env_cls: type[DummyVecEnv | SubprocVecEnv] | None = None,
    vec_env_kwargs: dict[str, Any] | None = None,
    monitor_kwargs: dict[str, Any] | None = None,
    wrapper_kwargs: dict[str, Any] | None = None,
) -> VecEnv:
    """Make a monitored vector environment: Stable-Baselines3's function, faster where it can be.

    The batched environment is taken where the id registers a `vector_entry_point` whose class declares
    SAME_STEP resets and the render mode (a `functools.partial` of one will do), and no argument needs single
    environments. All else goes to
    Stable-Baselines3's `make_vec_env`. From one seed the two draw different random numbers.

    Args:
        env_id: a registered id, with its module if need be ("plastic_rl:PlasticMaze-v0"), or a callable.
        n_envs: the number of environments, at least 1.
        seed: for the first reset and the action space; with the same seed everything repeats.
        start_index: added to the action space's seed; the monitor file's name.
        monitor_dir: folder for the monitor file, made if missing. `0.monitor.csv` holds all environments of a
            batch; single ones have a file each.
        wrapper_class: wrapper of single environments.
        env_kwargs: for the environment, say `{"max_episode_steps": 100}`; `render_mode` is
            "rgb_array" if unset.
        vec_env_cls: `DummyVecEnv`, single environments one after the other, or `SubprocVecEnv`, each in a
            process of its own.
        vec_env_kwargs: for `vec_env_cls`.
        monitor_kwargs: for the monitor; any but `info_keywords` needs single environments.
        wrapper_kwargs: for `wrapper_class`.

    Raises:
        ValueError: `n_envs` is not an integer of at least 1.
        RuntimeError: a process of `SubprocVecEnv` has ended while it made its environment.
        gymnasium.error.Error: the id is not registered.
    """
    n_envs = check_count("n_envs", n_envs)
    env_kwargs, monitor_kwargs = env_kwargs or {}, monitor_kwargs or {}
    needs_single = wrapper_class or vec_env_cls or vec_env_kwargs or set(monitor_kwargs) - {"info_keywords"}
    metadata = {} if needs_single or not isinstance(env_id, str) else _batched_metadata(env_id)
    render_modes = metadata.get("render_modes", [])
    render_mode = env_kwargs.get("render_mode", "rgb_array" if "rgb_array" in render_modes else None)
    if metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP or render_mode not in [None, *render_modes]:
        if isinstance(env_id, str) and vec_env_cls not in (None, DummyVecEnv):
            # Another process has not imported what registers the id: it gets what the id stands for.
            spec = _spec_of(env_id)
            env_id = env_id if spec is None else functools.partial(_make_single, spec)
        monitoring = (seed, start_index, monitor_dir, wrapper_class, env_kwargs)
        try:
            return env_util.make_vec_env(
                env_id, n_envs, *monitoring, vec_env_cls, vec_env_kwargs, monitor_kwargs, wrapper_kwargs
            )
        except (EOFError, ConnectionError) as error:
            if vec_env_cls in (None, DummyVecEnv):
                raise
            raise RuntimeError(
                "a process of SubprocVecEnv has ended while it made its environment: above stands why; "
                "DummyVecEnv makes it in this process"
            ) from error
    assert isinstance(env_id, str)
    if render_mode is not None:
        env_kwargs = {**env_kwargs, "render_mode": render_mode}
    env = gym.make_vec(env_id, n_envs, vectorization_mode="vector_entry_point", **env_kwargs)
    batched = GymnasiumVecEnv(env)
    if seed is not None:
        batched.action_space.seed(seed + start_index)
    monitor_file = None if monitor_dir is None else os.path.join(monitor_dir, str(start_index))
    venv = BatchMonitor(batched, monitor_file, **monitor_kwargs)
    # A wrapper keeps a list of its own that nothing fills: share the adaptor's.
    venv.reset_infos = batched.reset_infos
    venv.seed(seed)
    return venv


def _make_single(spec: EnvSpec, **env_kwargs: Any) -> gym.Env:
    """One environment, as Stable-Baselines3 makes it of an id: with pictures, if it knows them."""
    if multiprocessing.parent_process() is not None:
        # Ctrl-C reaches all processes of a terminal: the first of them says when the environments end.
        for name in ("SIGINT", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        return gym.make(spec, **{"render_mode": "rgb_array", **env_kwargs})
    except TypeError:
        return gym.make(spec, **env_kwargs)


def _spec_of(env_id: str) -> EnvSpec | None:
    """What is registered by just this id, once its module is imported."""
    module, name = split_env_id(env_id)
    if module:
        importlib.import_module(module)
    return gym.registry.get(name)


def has_batched_form(env_id: str, render_mode: str | None = None) -> bool:
    """Say whether the id registers a batched environment that `make_vec_env` takes in this render mode."""
    metadata = _batched_metadata(env_id)
    modes = [None, *metadata.get("render_modes", [])]
    return metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP and render_mode in modes


def _batched_metadata(env_id: str) -> dict[str, Any]:
    """Return the metadata of the id's batched class, or nothing if it has none that can be used."""
    spec = _spec_of(env_id)
    # Gymnasium refuses to put a specification's own wrappers round a batch.
    if spec is None or spec.vector_entry_point is None or spec.additional_wrappers:
        return {}
    entry_point = spec.vector_entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    while isinstance(creator, functools.partial):
        creator = creator.func
    return getattr(creator, "metadata", {})


def _row(batch: Any, i: int) -> Any:
    return {key: part[i] for key, part in batch.items()} if isinstance(batch, Mapping) else batch[i]


def _copy_observation(space: spaces.Space, observation: Any) -> Any:
    """Copy an observation or a batch of them: an environment may write into its arrays again."""
    if isinstance(space, spaces.Dict):
        return {key: np.array(observation[key], dtype=part.dtype) for key, part in space.items()}
    return np.array(observation, dtype=space.dtype)
