"""Shipped agents and archives of datasets, damaged or made to do harm."""

import gzip
import hashlib
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plastic_rl import load_pretrained
from plastic_rl.runs import pretrained

AGENT = "PlasticPairs-v0"


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's agents, in their place."""
    folder = shutil.copytree(pretrained.FOLDER, tmp_path / "agents")
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return folder


def put_model(folder: Path, content: bytes) -> None:
    """Another model, with the right checksum in the record."""
    (folder / f"{AGENT}.zip").write_bytes(content)
    record = json.loads((folder / f"{AGENT}.json").read_text())
    record["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / f"{AGENT}.json").write_text(json.dumps(record))


def set_record(folder: Path, **values: Any) -> None:
    record = json.loads((folder / f"{AGENT}.json").read_text()) | values
    (folder / f"{AGENT}.json").write_text(json.dumps(record))


AGENTS: dict[str, tuple[Callable[[Path, Any], object], str]] = {
    "a pickle": (lambda folder, kit: put_model(folder, pickle.dumps(kit.exploit)), "wasn't a zip-file"),
    "pickled data": (
        lambda folder, kit: put_model(folder, kit.packed_as({"data": "{}", "policy.pth": b""})),
        "holds pickled objects",
    ),
    "another agent": (lambda folder, kit: put_model(folder, kit.packed()), "does not fit this environment"),
    "another checksum": (
        lambda folder, kit: (folder / f"{AGENT}.zip").write_bytes(kit.packed()),
        "its checksum is not the one",
    ),
    "no model": (lambda folder, kit: (folder / f"{AGENT}.zip").unlink(), "is missing or damaged"),
    "a record of nothing": (lambda folder, kit: (folder / f"{AGENT}.json").write_text("{}"), "is damaged"),
    "a nested record": (
        lambda folder, kit: (folder / f"{AGENT}.json").write_text("[" * 10**5),
        "is damaged",
    ),
    "a long record": (
        lambda folder, kit: (folder / f"{AGENT}.json").write_text(" " * 2**22),
        "more than the",
    ),
    "no text": (lambda folder, kit: (folder / f"{AGENT}.json").write_bytes(b"\xff\xfe"), "is not text"),
    "an algorithm": (lambda folder, kit: set_record(folder, algo="os:system"), "unknown algorithm"),
    "arguments": (lambda folder, kit: set_record(folder, env_kwargs={"evil": 1}), "evil"),
}


@pytest.mark.parametrize("name", AGENTS)
def test_agents(
    name: str, agents: Path, kit: Any, refused: Callable[..., str], refused_by: Callable[..., str]
) -> None:
    damage, message = AGENTS[name]
    damage(agents, kit)
    assert message in refused("evaluate", AGENT, "--episodes", "2", "--device", "cpu")
    errors = (ValueError, TypeError) if name == "arguments" else ValueError
    assert message in refused_by(load_pretrained, AGENT, errors=errors)


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def tarred(*infos: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for info, content in infos:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def link(target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def pickled_batch(kit: Any) -> bytes:
    content = pickle.dumps({b"data": kit.exploit, b"labels": [1]}, protocol=2)
    return tarred((tarfile.TarInfo("cifar-10-batches-py/data_batch_1"), content))


DATASETS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "a pickle for Omniglot": ("images_background.zip", lambda kit: pickle.dumps(kit.exploit)),
    "no images": ("images_background.zip", lambda kit: zipped(readme=b"text")),
    "a bomb": ("images_background.zip", lambda kit: zipped(images_background__A__c__1_01=bytes(2**28))),
    "a bomb of an image": (
        "images_background.zip",
        lambda kit: zipped(**{"images_background__A__character01__0001_01.png": bytes(2**28)}),
    ),
    "an image that is none": (
        "images_background.zip",
        lambda kit: zipped(**{"images_background__A__character01__0001_01.png": b"\x89PNG evil"}),
    ),
    "outside": ("images_background.zip", lambda kit: zipped(**{"..__..__evil.png": b"evil"})),
    "a text for CIFAR-10": ("cifar-10-python.tar.gz", lambda kit: b"text"),
    "a pickled batch": ("cifar-10-python.tar.gz", pickled_batch),
    "a link": ("cifar-10-python.tar.gz", lambda kit: tarred((link("/etc/passwd"), b""))),
    "zeros without end": ("cifar-10-python.tar.gz", lambda kit: gzip.compress(bytes(2**28), 1)),
    "an empty archive": ("cifar-10-binary.tar.gz", lambda kit: b""),
}


@pytest.mark.parametrize("name", DATASETS)
def test_datasets(
    name: str, tmp_path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    file, make = DATASETS[name]
    monkeypatch.setenv("PLASTIC_RL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PLASTIC_RL_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / file).write_bytes(make(kit))
    env_id = "PlasticOmniglot-v0" if "images" in file else "PlasticImageCompletion-v0"
    line = refused(
        "train", env_id, "--timesteps", "100", "--output", str(tmp_path / "run"), "--device", "cpu"
    )
    assert file in line
    assert not (tmp_path / "run").exists()
