"""Model files that are damaged, or made to do harm: one line each, nothing runs, memory is bounded.

Every file goes through the command line and through Python.
"""

import io
import json
import os
import pickle
import random
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from plastic_rl import ModelFileError, PlasticA2C, PlasticPPO, UntrustedFileError
from plastic_rl.cli.main import main
from plastic_rl.policies import PlasticPolicy

ON_MAZE = ["PlasticMaze-v0", "--algo", "plastic_a2c", "--episodes", "2", "--device", "cpu"]
ON_MAZE += ["--env-kwargs", "max_episode_steps:20"]
TERABYTE = 2**40


def policy(content: Any) -> Any:
    return content["optimizers"]["policy.optimizer"]


def set_to(**values: Any) -> Callable[[Any], Any]:
    return lambda kit: kit.with_settings(lambda content: content["settings"].update(values))


def kwargs(**values: Any) -> Callable[[Any], Any]:
    return lambda kit: kit.with_settings(lambda content: content["settings"]["policy_kwargs"].update(values))


def settings(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda kit: kit.with_settings(change)


def tensors(member: str, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda kit: kit.with_tensors(member, change)


def pickled_instead(member: str) -> Callable[[Any], Any]:
    return lambda kit: kit.packed_as(kit.members | {member: pickle.dumps(kit.exploit)})


def one_more(name: str) -> Callable[[Any], Any]:
    return lambda kit: kit.packed_as(kit.members | {name: pickle.dumps(kit.exploit)})


def as_baselines_pickles(kit: Any) -> bytes:
    model = PlasticA2C("MlpPolicy", "PlasticMaze-v0", policy_kwargs={"hidden_size": 6}, device="cpu")
    model.evil = kit.exploit
    stream = io.BytesIO()
    BaseAlgorithm.save(model, stream)
    return stream.getvalue()


def baselines_member(name: str) -> Callable[[Any], Any]:
    """A member of a file of Stable-Baselines3 that is a pickle of its own."""

    def make(kit: Any) -> bytes:
        stream = io.BytesIO()
        torch.save(kit.exploit, stream)
        return kit.packed_as({"data": "{}", name: stream.getvalue()})

    return make


def torch_pickle(kit: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(kit.exploit, stream)
    return stream.getvalue()


def twice(name: str) -> Callable[[Any], Any]:
    def make(kit: Any) -> bytes:
        stream = io.BytesIO(kit.packed())
        with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(stream, "a") as archive:
            archive.writestr(name, kit.members[name])
        return stream.getvalue()

    return make


def bomb(name: str) -> Callable[[Any], Any]:
    """A member that unpacks to a thousand times its size."""

    def make(kit: Any) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in kit.members.items():
                archive.writestr(member, bytes(2**28) if member == name else content)
        return stream.getvalue()

    return make


def link_member(kit: Any) -> bytes:
    info = zipfile.ZipInfo("policy.safetensors.link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO(kit.packed())
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def claims(name: str, size: int) -> Callable[[Any], Any]:
    """The table of the archive says that a member has so many bytes."""

    def make(kit: Any) -> bytes:
        content = bytearray(kit.packed())
        place = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
        struct.pack_into("<II", content, place + 20, size, size)
        return bytes(content)

    return make


def header_of(name: str, change: Callable[[Any], bytes]) -> Callable[[Any], Any]:
    """A member of tensors with another header."""

    def make(kit: Any) -> bytes:
        content = kit.members[name]
        length = struct.unpack("<Q", content[:8])[0]
        return kit.packed_as(
            kit.members | {name: change(json.loads(content[8 : 8 + length])) + content[8 + length :]}
        )

    return make


def terabytes(header: Any) -> bytes:
    header["core.w"]["shape"] = [2**20, 2**20]
    header["core.w"]["data_offsets"][1] = header["core.w"]["data_offsets"][0] + 4 * TERABYTE
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def encrypted(kit: Any) -> bytes:
    content = bytearray(kit.packed())
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"settings.json"))
    content[place + 8] |= 1
    return bytes(content)


def other_algorithm(kit: Any) -> bytes:
    stream = io.BytesIO()
    PlasticPPO("MlpPolicy", "PlasticMaze-v0", policy_kwargs={"hidden_size": 6}, device="cpu").save(stream)
    return stream.getvalue()


def only_a_policy(kit: Any) -> bytes:
    stream = io.BytesIO()
    model = PlasticA2C("MlpPolicy", "PlasticMaze-v0", policy_kwargs={"hidden_size": 6}, device="cpu")
    model.policy.save(stream)
    return stream.getvalue()


def fill(value: float) -> Callable[[Any], Any]:
    return tensors("policy", lambda found: found["core.w"].fill_(value))


def rename(found: Any) -> None:
    found["core.v"] = found.pop("core.w")


CLASS = {"$type": "class", "name": "os.system"}
DAMAGED = {
    # Pickled objects, wherever there is a place for one.
    "a file of Stable-Baselines3": (as_baselines_pickles, "holds pickled objects"),
    "policy.pth": (baselines_member("policy.pth"), "holds pickled objects"),
    "policy.optimizer.pth": (baselines_member("policy.optimizer.pth"), "holds pickled objects"),
    "pytorch_variables.pth": (baselines_member("pytorch_variables.pth"), "holds pickled objects"),
    "a file of torch": (torch_pickle, "holds pickled objects"),
    "one more data": (one_more("data"), "holds pickled objects"),
    "pickle alone": (lambda kit: pickle.dumps(kit.exploit), "wasn't a zip-file"),
    "pickled settings": (pickled_instead("settings.json"), "settings.json is not JSON"),
    "pickled policy": (pickled_instead("policy.safetensors"), "policy.safetensors is damaged"),
    "pickled optimizer": (
        pickled_instead("policy.optimizer.safetensors"),
        "optimizer.safetensors is damaged",
    ),
    "pickled arrays": (pickled_instead("arrays.safetensors"), "arrays.safetensors is damaged"),
    # Archives.
    "a program": (one_more("evil.py"), "has a member 'evil.py'"),
    "outside": (one_more("../evil.safetensors"), "has a member '../evil"),
    "from the root": (one_more("/etc/evil.safetensors"), "has a member '/etc"),
    "a folder inside": (one_more("a/"), "has a member 'a/'"),
    "a link inside": (link_member, "has a member"),
    "settings twice": (twice("settings.json"), "more than once"),
    "policy twice": (twice("policy.safetensors"), "more than once"),
    "bomb of settings": (bomb("settings.json"), "is compressed"),
    "bomb of tensors": (bomb("policy.safetensors"), "is compressed"),
    "claims gigabytes": (claims("policy.safetensors", 2**32 - 2), "claim more than there is"),
    "claims nothing": (claims("policy.safetensors", 0), "damaged"),
    "encrypted": (encrypted, "encrypted"),
    "no settings": (lambda kit: kit.packed(settings_json=None), "there is no settings.json"),
    "no policy": (lambda kit: kit.packed(policy_safetensors=None), "policy.safetensors is missing"),
    "no arrays": (lambda kit: kit.packed(arrays_safetensors=None), "damaged"),
    "empty archive": (lambda kit: kit.packed_as({}), "there is no settings.json"),
    "empty settings": (lambda kit: kit.packed(settings_json=b""), "settings.json is not JSON"),
    "empty policy": (lambda kit: kit.packed(policy_safetensors=b""), "policy.safetensors is damaged"),
    "a text": (lambda kit: b"not a model\n" * 99, "wasn't a zip-file"),
    "nothing": (lambda kit: b"", "wasn't a zip-file"),
    "zeros": (lambda kit: bytes(10_000), "wasn't a zip-file"),
    # Tensors.
    "header claims terabytes": (header_of("policy.safetensors", terabytes), "policy.safetensors is damaged"),
    "header of exabytes": (
        header_of("policy.safetensors", lambda header: struct.pack("<Q", 2**62)),
        "policy.safetensors is damaged",
    ),
    "not a number": (fill(float("nan")), "core.w holds nan"),
    "infinity": (fill(float("inf")), "core.w holds inf"),
    "double": (
        tensors("policy", lambda found: found.update({"core.w": found["core.w"].double()})),
        "float64",
    ),
    "integers": (tensors("policy", lambda found: found.update({"core.w": found["core.w"].int()})), "int32"),
    "wrong shape": (
        tensors("policy", lambda found: found.update({"core.w": torch.zeros(6, 7)})),
        r"core.w has the shape (6, 7), not (6, 6)",
    ),
    "without dimensions": (
        tensors("policy", lambda found: found.update({"core.w": torch.tensor(1.0)})),
        "core.w has the shape ()",
    ),
    "wrong N": (kwargs(hidden_size=7), "has the shape"),
    "missing tensor": (tensors("policy", lambda found: found.pop("core.w")), "it lacks core.w"),
    "strange tensor": (tensors("policy", lambda found: found.update(evil=torch.zeros(3))), "it has evil"),
    "renamed tensor": (tensors("policy", rename), "it lacks core.w and has core.v"),
    "optimizer not a number": (
        tensors("policy.optimizer", lambda found: found["state.1.exp_avg"].fill_(float("nan"))),
        "holds nan",
    ),
    "optimizer's shape": (
        tensors("policy.optimizer", lambda found: found.update({"state.1.exp_avg": torch.zeros(3)})),
        "exp_avg has the shape (3,)",
    ),
    # What the settings describe.
    "another algorithm": (other_algorithm, "is a model of plastic_rl.training.PlasticPPO, not of"),
    "a policy": (only_a_policy, "it holds a 'policy', not a model"),
    "terabytes of neurons": (kwargs(hidden_size=10**6), "much larger than what it holds"),
    "more neurons than there are bytes": (kwargs(hidden_size=10**12), "model.zip"),
    "a million layers": (kwargs(net_arch=[1] * 300_000), "much larger than what it holds"),
    "a large layer": (kwargs(net_arch=[10**9]), "much larger than what it holds"),
    "rollouts without end": (set_to(n_steps=10**15), "does not describe a model: "),
    "negative rollouts": (set_to(n_steps=-1), "n_steps must be an integer of at least 1"),
    "too many actions": (
        settings(lambda content: content["settings"]["action_space"].update(n=10**12)),
        "Action spaces do not match",
    ),
    "a list": (lambda kit: kit.packed(settings_json="[]"), "not that of a model file"),
    "of another program": (
        settings(lambda content: content.update(format="safe")),
        "not that of a model file",
    ),
    "of the future": (settings(lambda content: content.update(format_version=99)), "format_version is 99"),
    "without a version": (settings(lambda content: content.pop("format_version")), "format_version is None"),
    "nested": (lambda kit: kit.packed(settings_json="[" * 10**5 + "]" * 10**5), "settings.json is not JSON"),
    "a name twice": (lambda kit: kit.packed(settings_json='{"a": 1, "a": 2}'), "a name twice"),
    "NaN in JSON": (lambda kit: kit.packed(settings_json='{"a": NaN}'), "NaN is no number"),
    "a long number": (lambda kit: kit.packed(settings_json="1" * 10**5), "settings.json"),
    "no text": (lambda kit: kit.packed(settings_json=b"\xff\xfe{}"), "settings.json is not JSON"),
    "os.system": (set_to(policy_class=CLASS), "names os.system, which is not registered"),
    "os.system among the arguments": (kwargs(activation_fn=CLASS), "names os.system"),
    "a module beside the table": (
        set_to(policy_class={"$type": "class", "name": "plastic_rl.policies.torch"}),
        "not registered",
    ),
    "a class of another kind": (
        set_to(policy_class={"$type": "class", "name": "torch.nn.Tanh"}),
        "policy_class cannot be",
    ),
    "an activation that is none": (
        kwargs(activation_fn={"$type": "class", "name": "plastic_rl.training.PlasticA2C"}, net_arch=[3]),
        "does not describe a model",
    ),
    "code": (set_to(gamma={"$type": "code", "value": "open('executed', 'w')"}), "no type 'code'"),
    "a hidden method": (set_to(predict=1), "'predict' is no setting"),
    "a class of its own": (set_to(__class__=1), "'__class__' is no setting"),
    "an environment": (set_to(env={}), "'env' is no setting"),
    "no space": (settings(lambda content: content["settings"].pop("observation_space")), "is missing"),
    "a number as a space": (set_to(action_space=3), "action_space cannot be"),
    "a text as a number": (set_to(num_timesteps="many"), "num_timesteps cannot be"),
    "gamma": (set_to(gamma=2), "gamma must be"),
    "a learning rate that is none": (set_to(learning_rate="evil"), "learning_rate must be"),
    "arguments that are none": (set_to(policy_kwargs=[]), "policy_kwargs cannot be"),
    "unknown arguments": (kwargs(evil=1), "does not describe a model: TypeError"),
    "episodes that are none": (set_to(ep_info_buffer=[1]), "ep_info_buffer cannot be"),
    "left out": (settings(lambda content: content["left_out"].update(gamma=3)), "left_out"),
    "shared with nothing": (
        settings(lambda content: content["shared"]["policy"].update(a="b")),
        "there is no tensor 'b'",
    ),
    "no optimizer": (
        settings(lambda content: content["optimizers"].clear()),
        "holds the states of policy, not",
    ),
    "no groups": (settings(lambda content: policy(content).pop("param_groups")), "damaged"),
    "groups of other parameters": (
        settings(lambda content: policy(content)["param_groups"][0].update(params=[0])),
        "of other parameters",
    ),
    "a group of texts": (
        settings(lambda content: policy(content)["param_groups"][0].update(eps="small")),
        "eps must be like",
    ),
    "state of no parameter": (
        settings(lambda content: policy(content)["state"].update({"77": {}})),
        "parameters that the model does not have",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_one_line_and_nothing_runs(
    name: str, kit: Any, tmp_path: Path, refused: Callable[..., str], refused_by: Callable[..., str]
) -> None:
    make, message = DAMAGED[name]
    path = tmp_path / "model.zip"
    path.write_bytes(make(kit))
    assert message in refused("evaluate", str(path), *ON_MAZE)
    errors = (ValueError,) if "spaces" in message or "must be" in message else (ModelFileError,)
    if "spaces" not in message:  # there is no environment here to compare with
        line = refused_by(PlasticA2C.load, path, errors=errors)
        assert message in line
        assert str(path) in line
    if "pickled objects" in message:
        refused_by(PlasticPolicy.load, path, errors=UntrustedFileError)
    model = PlasticA2C("MlpPolicy", "PlasticMaze-v0", policy_kwargs={"hidden_size": 5}, device="cpu")
    refused_by(model.set_parameters, path, errors=ValueError)
    if make is not only_a_policy:
        refused_by(PlasticPolicy.load, path, errors=ModelFileError)


@pytest.mark.parametrize("part", range(20))
def test_truncated_anywhere(
    part: int, kit: Any, tmp_path: Path, refused: Callable[..., str], refused_by: Callable[..., str]
) -> None:
    whole = kit.packed()
    path = tmp_path / "model.zip"
    path.write_bytes(whole[: len(whole) * part // 20 + 7])
    refused("evaluate", str(path), *ON_MAZE)
    refused_by(PlasticA2C.load, path, errors=ModelFileError)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a pipe": make_pipe,
    "a link to itself": make_link_to_itself,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a text": lambda path: path.symlink_to("/etc/passwd"),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices")
@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file(
    make: Any, tmp_path: Path, refused: Callable[..., str], refused_by: Callable[..., str]
) -> None:
    path = tmp_path / "model.zip"
    make(path)
    refused("evaluate", str(path), *ON_MAZE)
    refused_by(PlasticA2C.load, path, errors=(ModelFileError, OSError))


def test_a_sparse_file_of_terabytes(
    tmp_path: Path, kit: Any, refused: Callable[..., str], refused_by: Callable[..., str]
) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(kit.packed())
    os.truncate(path, 8 * TERABYTE)
    refused("evaluate", str(path), *ON_MAZE)
    refused_by(PlasticA2C.load, path, errors=ModelFileError)


def test_many_environments_are_not_made_room_for(
    tmp_path: Path, kit: Any, refused_by: Callable[..., str]
) -> None:
    """Their number is in the file; without an environment of the user's there is nothing to make room for."""
    path = tmp_path / "model.zip"
    path.write_bytes(set_to(n_envs=10**12)(kit))
    assert "does not describe a model: " in refused_by(PlasticA2C.load, path, errors=ModelFileError)


# A tenth of the damages in every run, all of them among the slow tests.
some_seeds = pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] if seed % 10 else []) for seed in range(200)]
)


@some_seeds
def test_flipped_bytes_give_an_error_or_do_no_harm(
    seed: int, kit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    content = bytearray(kit.packed())
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path = tmp_path / "model.zip"
    path.write_bytes(content)
    check_outcome(path, capsys)


JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    "x",
    [],
    {},
    [[]],
    {"$type": "tuple", "items": []},
    CLASS,
]


@some_seeds
def test_changed_settings_give_an_error_or_do_no_harm(
    seed: int, kit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the right checksums: any place of the settings, and anything put there."""
    rng = random.Random(seed)

    def change(content: Any) -> None:
        place = content
        while True:
            key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or rng.random() < 0.2:
                place[key] = rng.choice(JUNK)
                return
            place = inner

    path = tmp_path / "model.zip"
    path.write_bytes(kit.with_settings(change))
    check_outcome(path, capsys)


def check_outcome(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Either one line and exit code 2, or an agent that plays."""
    capsys.readouterr()
    code = main(["evaluate", str(path), *ON_MAZE])
    out, err = capsys.readouterr()
    if code == 2:
        assert err.count("\n") == 1
        assert err.startswith("plastic-rl: error: ")
    else:
        assert code == 0
        assert "mean return" in out


def test_the_exit_code_of_the_program(tmp_path: Path, kit: Any) -> None:
    """In a process of its own, as somebody would type it."""
    path = tmp_path / "evil.zip"
    path.write_bytes(as_baselines_pickles(kit))
    command = [sys.executable, "-m", "plastic_rl", "evaluate", str(path), *ON_MAZE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "holds pickled objects ('policy_class', " in done.stderr
    assert not (tmp_path / "executed").exists()
    trusted = subprocess.run([*command, "--trust"], capture_output=True, text=True, check=False)
    assert (tmp_path / "executed").exists()
    assert trusted.returncode == 0, trusted.stderr
