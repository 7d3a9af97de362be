"""Plain YAML values, from files and from ``key:value`` arguments."""

import copy
import re
from collections.abc import Mapping
from typing import Any

import yaml

MAX_VALUES = 100_000
"""Values that a YAML file may stand for."""


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that also reads ``3e-4`` as a number, as YAML 1.2 and Python do."""


class _Dumper(yaml.SafeDumper):
    """Quotes what the loader would take for a number: a W&B run may be called ``826e2278``."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )


def load_yaml(text: str) -> Any:
    """Read plain YAML values (no Python objects); ``3e-4`` is a number.

    Raises:
        yaml.YAMLError: the text is not YAML, or stands for more than `MAX_VALUES` values.
    """
    try:
        value = yaml.load(text, Loader=_Loader)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # What PyYAML raises for values that their tag does not fit, and for what is nested too deeply.
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error
    _check_size(value)
    return value


def _check_size(value: Any) -> None:
    """Count values where they are used: a few lines can name each other a billion times, or without end.

    Raises:
        yaml.YAMLError: there are more than `MAX_VALUES`.
    """
    waiting, count = [value], 0
    while waiting:
        one = waiting.pop()
        count += 1
        if isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set):
            waiting += one
        if count + len(waiting) > MAX_VALUES:
            raise yaml.YAMLError(f"it stands for more than {MAX_VALUES:,} values")


def dump_yaml(value: Any) -> str:
    """Plain values as YAML that `load_yaml` reads back unchanged; mappings keep their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `base` with `changes` laid over it; mappings inside are merged, everything else replaced."""
    merged = copy.deepcopy(dict(base))
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def check_names(mapping: Mapping[Any, Any], where: str) -> None:
    """Make sure that all keys are names, as keyword arguments need them.

    Raises:
        ValueError: one is not; the message calls the mapping `where`.
    """
    for key in mapping:
        if not isinstance(key, str):
            raise ValueError(f"the keys of {where} must be names, not {key!r}")


def parse_pairs(pairs: list[str]) -> dict[str, Any]:
    """Read RL-Zoo's ``key:value`` arguments; values are YAML and are never evaluated as Python.

    ``policy_kwargs.eta:0.05`` and ``policy_kwargs:"{eta: 0.05}"`` mean the same.

    Raises:
        ValueError: a pair without a colon, a key given twice, or a value that is not YAML.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, colon, text = pair.partition(":")
        *outer, last = key.split(".")
        if not colon or not last or not all(outer):
            raise ValueError(f"{pair!r} is not of the form key:value")
        value = _parse_value(pair, text)
        target = parsed
        for part in outer:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise ValueError(f"{pair!r}: {part} already has the value {target!r}")
        if isinstance(value, dict) and isinstance(target.get(last), dict):
            target[last] = merge(target[last], value)
        elif last in target:
            raise ValueError(f"{pair!r}: {key} is given twice")
        else:
            target[last] = value
    return parsed


def _parse_value(pair: str, text: str) -> Any:
    if text.strip() == "None":
        return None
    try:
        return load_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{pair!r}: the value is not YAML ({getattr(error, 'problem', error)})") from error
