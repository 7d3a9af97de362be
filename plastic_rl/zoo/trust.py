"""What RL-Zoo reads beside a model: its readers run what a file says, so the files are looked at before."""

import functools
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym
import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnvWrapper

from plastic_rl.saving import UntrustedFileError

Algorithm = TypeVar("Algorithm", bound=BaseAlgorithm)

_STATISTICS = "vecnormalize.pkl"
# Their wrappers read and write no files, and run nothing that they are given.
_WRAPPERS = ("plastic_rl.envs", "rl_zoo3.wrappers", "minigrid.wrappers")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, and the two classes of Python that RL-Zoo writes of itself."""


def _ordered(loader: yaml.SafeLoader, node: yaml.Node) -> OrderedDict[Any, Any]:
    arguments = loader.construct_sequence(node, deep=True)  # type: ignore[arg-type]
    return OrderedDict(arguments[0] if arguments else ())


def _tuple(loader: yaml.SafeLoader, node: yaml.Node) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))  # type: ignore[arg-type]


_Loader.add_constructor("tag:yaml.org,2002:python/object/apply:collections.OrderedDict", _ordered)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def trusting(algorithm: type[Algorithm]) -> type[Algorithm]:
    """The algorithm, whose `load` reads files with pickled objects, too."""

    def load(cls: type, *args: Any, **kwargs: Any) -> Algorithm:
        return algorithm.load.__func__(cls, *args, **{**kwargs, "trust": True})  # type: ignore[attr-defined]

    return type(algorithm.__name__, (algorithm,), {"load": classmethod(load)})


def checked(get_saved_hyperparams: Callable[..., Any]) -> Callable[..., Any]:
    """RL-Zoo's function, which reads the folder of a run, with a look at what lies there before."""

    @functools.wraps(get_saved_hyperparams)
    def get(stats_path: str, *args: Any, **kwargs: Any) -> Any:
        check_run(Path(stats_path))
        return get_saved_hyperparams(stats_path, *args, **kwargs)

    return get


def check_run(folder: Path) -> None:
    """Make sure that nothing runs when RL-Zoo reads the settings and statistics of a run.

    Args:
        folder: where ``config.yml`` and ``args.yml`` lie; it need not exist.

    Raises:
        UntrustedFileError: something would.
    """
    for name in ("config.yml", "args.yml"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            settings = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        except (yaml.YAMLError, ValueError, TypeError, LookupError, RecursionError) as error:
            problem = getattr(error, "problem", None) or error
            raise _untrusted(path, f"what is not plain YAML ({problem})") from error
        if not isinstance(settings, dict):
            raise _untrusted(path, "something else than settings")
        if isinstance(settings.get("normalize"), str):
            raise _untrusted(path, f"Python code, normalize: {settings['normalize'][:100]}")
        for key in ("env_wrapper", "vec_env_wrapper"):
            for wrapper in _wrappers(settings.get(key)):
                if not _is_known(wrapper):
                    raise _untrusted(path, f"the {key} {wrapper[:100]}, which RL-Zoo would import")
    check_statistics(folder)


def check_statistics(folder: Path) -> None:
    """Make sure that a run has no pickled statistics.

    Raises:
        UntrustedFileError: it has.
    """
    if (folder / _STATISTICS).exists():
        raise _untrusted(folder / _STATISTICS, "pickled objects")


def _wrappers(value: Any) -> list[str]:
    """The names of wrappers in a setting: one, or a list, each alone or before its arguments."""
    items = [] if value is None else value if isinstance(value, list) else [value]
    return [str(next(iter(item), "")) if isinstance(item, dict) else str(item) for item in items]


def _is_known(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if module not in _WRAPPERS:
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, gym.Wrapper | VecEnvWrapper)


def _untrusted(path: Path, what: str) -> UntrustedFileError:
    return UntrustedFileError(
        f"{path} holds {what}, which can run any code when RL-Zoo reads it. If you trust whoever made it, "
        "give --trust"
    )
