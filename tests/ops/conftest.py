"""Large products of parameters: the default run takes a part of them in which every pair of values meets."""

from collections import defaultdict
from itertools import combinations

import pytest
import torch

# Of these, every combination that there is.
ALWAYS = ("cell", "rule", "alpha")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "pairwise: of the product of its parameters the default run takes so many that every two values of "
        "different parameters meet, and every cell, rule and alpha; the others are slow",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():  # kernels for it are tested in plastic_rnn/triton, by an interpreter
        items[:] = [item for item in items if not needs_cuda(item)]
    groups = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("pairwise"):
            groups[item.path, item.originalname].append(item)
    for group in groups.values():
        for item in set(group) - set(covering(group)):
            item.add_marker(pytest.mark.slow)


def needs_cuda(item: pytest.Item) -> bool:
    """Whether it runs problems on the backend ``triton``."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return parameters.get("backend") == "triton" and "make_problem" in item.fixturenames


def meetings(item: pytest.Function) -> frozenset:
    """The pairs of values that an item has, and its values of ALWAYS together."""
    values = sorted((name, repr(value)) for name, value in item.callspec.params.items())
    together = tuple(value for value in values if value[0] in ALWAYS)
    return frozenset((*combinations(values, 2), together))


def covering(items: list[pytest.Function]) -> list[pytest.Function]:
    """Some of the items that have all meetings of all of them: always the one with most that are missing."""
    of_each = {item: meetings(item) for item in items}
    missing = set().union(*of_each.values())
    chosen = []
    while missing:
        best = max(items, key=lambda item: len(of_each[item] & missing))
        chosen.append(best)
        missing -= of_each[best]
    return chosen
