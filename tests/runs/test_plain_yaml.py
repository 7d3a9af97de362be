import pytest

from plastic_rl.runs.plain_yaml import dump_yaml, load_yaml


@pytest.mark.parametrize(
    "value",
    ["826e2278", "1e5", "-.5e-3", "12", "1.5", "yes", "null", "", "a: b", "é", 1e-5, 1e22, 3, True, None],
)
def test_what_is_written_is_read_back(value: object) -> None:
    found = load_yaml(dump_yaml({"id": value, "list": [value]}))
    assert found == {"id": value, "list": [value]}
    assert type(found["id"]) is type(value)


def test_numbers_with_an_exponent_are_numbers() -> None:
    assert load_yaml("[3e-4, 1.e3, .5E+1]") == [3e-4, 1000.0, 5.0]
