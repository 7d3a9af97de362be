"""What every part of the package asks of its arguments."""

import pytest

from plastic_rl.arguments import split_env_id


@pytest.mark.parametrize(
    ("env_id", "parts"),
    [
        ("CartPole-v1", ("", "CartPole-v1")),
        ("plastic_rl:PlasticMaze-v0", ("plastic_rl", "PlasticMaze-v0")),
        ("a.module:ALE/Pong-v5", ("a.module", "ALE/Pong-v5")),
        (":CartPole-v1", ("", "CartPole-v1")),
    ],
)
def test_an_id_is_a_module_and_a_name(env_id: str, parts: tuple[str, str]) -> None:
    assert split_env_id(env_id) == parts
