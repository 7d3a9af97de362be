"""CIFAR-10's archives and folders: what is read from them, and how damaged ones are refused."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from plastic_rl.envs.datasets import cifar10
from plastic_rl.envs.datasets.cifar10_archive import read_cifar10

BATCHES = ("data_batch_1", "data_batch_2", "test_batch")
SIZES = {"data_batch_1": 3, "data_batch_2": 2, "test_batch": 4}


def pixels(batch: str) -> np.ndarray:
    """(n, 3072) made-up images, different in every batch."""
    rng = np.random.default_rng(BATCHES.index(batch))
    return rng.integers(256, size=(SIZES[batch], 3072), dtype=np.uint8)


def binary_batch(images: np.ndarray, label: int = 9) -> bytes:
    return np.insert(images, 0, label, axis=1).tobytes()


def python2_batch(images: np.ndarray, label: int = 9, order: str = "C") -> bytes:
    """The instructions that Python 2 wrote into the official files, one by one."""
    place = iter(range(1000))

    def text(word: bytes) -> bytes:
        return b"U" + bytes([len(word)]) + word + b"q" + bytes([next(place)])

    n = len(images)
    content = images.tobytes(order)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    array += b"M" + struct.pack("<H", n) + b"M" + struct.pack("<H", 3072) + b"\x86"
    array += b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array += (b"\x89" if order == "C" else b"\x88") + b"T" + struct.pack("<i", len(content)) + content + b"tb"
    labels = b"](" + n * (b"K" + bytes([label])) + b"e"
    names = b"](" + b"".join(text(b"image_%d.png" % i) for i in range(n)) + b"e"
    pairs = text(b"batch_label") + text(b"training batch 1 of 5") + text(b"labels") + labels
    return b"\x80\x02}(" + pairs + text(b"data") + array + text(b"filenames") + names + b"u."


def python3_batch(images: np.ndarray, label: int = 9) -> bytes:
    return pickle.dumps({b"data": images, b"labels": [label] * len(images)}, protocol=2)


WRITERS = {
    "bin": ("cifar-10-batches-bin", ".bin", binary_batch),
    "py": ("cifar-10-batches-py", "", python2_batch),
}


def batches(form: str) -> dict[str, bytes]:
    """A small CIFAR-10: the files of an archive by name."""
    folder, suffix, write = WRITERS[form]
    files = {f"{folder}/{batch}{suffix}": write(pixels(batch)) for batch in BATCHES}
    return files | {f"{folder}/readme.html": b"<html>", f"{folder}/batches.meta{suffix}": b"cos\nsystem\n"}


def write_tar(path: Path, files: dict[str, bytes], *special: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in special:
            archive.addfile(member)
    return path


@pytest.mark.parametrize("inner", ["", "cifar10"])
@pytest.mark.parametrize("kind", ["archive", "folder"])
@pytest.mark.parametrize(("form", "name"), [("bin", "binary"), ("py", "python")])
def test_every_form_gives_the_same_images(write_folder, tmp_path, caplog, form, name, kind, inner):
    (tmp_path / inner).mkdir(exist_ok=True)
    if kind == "archive":
        write_tar(tmp_path / inner / f"cifar-10-{name}.tar.gz", batches(form))
    else:
        write_folder(tmp_path / inner, batches(form))
    data = cifar10(tmp_path)
    train = np.concatenate([pixels("data_batch_1"), pixels("data_batch_2")])
    assert data.train.dtype == data.test.dtype == np.uint8
    assert (data.train == train.reshape(5, 3, 32, 32)).all()
    assert (data.test == pixels("test_batch").reshape(4, 3, 32, 32)).all()
    assert str(data).startswith("5 of 50,000 training images and 4 of 10,000 test images, from ")
    assert str(tmp_path / inner) in str(data.sources[0])
    assert "CIFAR-10 is incomplete: 5 of 50,000" in caplog.text


def test_batches_that_python_3_wrote_again(write_folder, tmp_path):
    write_folder(tmp_path, {batch: python3_batch(pixels(batch)) for batch in BATCHES})
    assert (read_cifar10(tmp_path)[1].reshape(4, 3072) == pixels("test_batch")).all()


def test_images_stored_column_by_column(write_folder, tmp_path):
    write_folder(tmp_path, {batch: python2_batch(pixels(batch), order="F") for batch in BATCHES})
    assert (read_cifar10(tmp_path)[1].reshape(4, 3072) == pixels("test_batch")).all()


def test_the_order_inside_the_archive_does_not_matter(tmp_path):
    backwards = dict(reversed(batches("bin").items()))
    train, _ = read_cifar10(write_tar(tmp_path / "cifar-10-binary.tar.gz", backwards))
    assert (train[:3].reshape(3, 3072) == pixels("data_batch_1")).all()


def test_an_archive_can_be_named_itself_and_the_binary_one_comes_first(tmp_path):
    for form, name in (("bin", "binary"), ("py", "python")):
        write_tar(tmp_path / f"cifar-10-{name}.tar.gz", batches(form))
    assert cifar10(tmp_path).sources[0].name == "cifar-10-binary.tar.gz"
    assert cifar10(tmp_path / "cifar-10-python.tar.gz").sources[0].name == "cifar-10-python.tar.gz"


def changed(form: str, batch: str, data: bytes | None) -> dict[str, bytes]:
    """The files of an archive with one replaced, or left out."""
    files = batches(form)
    folder, suffix, _ = WRITERS[form]
    files.pop(f"{folder}/{batch}{suffix}", None)
    return files if data is None else files | {f"{folder}/{batch}{suffix}": data}


IMAGES = pixels("test_batch")
BAD_BATCHES = [
    ("bin", "test_batch", None, "lacks test_batch"),
    ("bin", "test_batch", b"", "test_batch.bin has 0 bytes"),
    ("bin", "test_batch", binary_batch(IMAGES)[:-1], "test_batch.bin has 12,291 bytes.*truncated or damaged"),
    ("bin", "test_batch", binary_batch(IMAGES, 10), "test_batch.bin: image 0 has the label 10"),
    ("bin", "data_batch_3", bytes(30_730_001), "'cifar.*3.bin' has 30,730,001 bytes; at most 30,730,000"),
    ("py", "data_batch_3", bytes(50_000_001), "'cifar.*3' has 50,000,001 bytes; at most 50,000,000"),
    ("py", "test_batch", None, "lacks test_batch"),
    ("py", "test_batch", b"", "test_batch is not a batch of CIFAR-10, or damaged"),
    ("py", "test_batch", python2_batch(IMAGES)[:-2000], "test_batch is not a batch of CIFAR-10, or damaged"),
    ("py", "test_batch", python2_batch(IMAGES, 77), "test_batch: image 0 has the label 77"),
    ("py", "test_batch", python2_batch(IMAGES).replace(b"u1", b"f8"), "has not 1 to 10,000 labels"),
    ("py", "test_batch", python2_batch(IMAGES[:, :3000]), "has not 1 to 10,000 labels"),
    ("py", "test_batch", pickle.dumps([], protocol=2), "is not a batch of CIFAR-10, or damaged"),
    ("py", "test_batch", pickle.dumps({"labels": [1]}, protocol=2), "or damaged: 'data'"),
]


@pytest.mark.parametrize(("form", "batch", "data", "message"), BAD_BATCHES)
def test_bad_batches_are_named(tmp_path, form, batch, data, message):
    name = {"bin": "binary", "py": "python"}[form]
    path = write_tar(tmp_path / f"cifar-10-{name}.tar.gz", changed(form, batch, data))
    with pytest.raises(ValueError, match=message) as caught:
        cifar10(tmp_path)
    assert str(path) in str(caught.value)
    assert "plastic-rl data fetch cifar10" in str(caught.value)


def test_test_images_alone_are_not_enough(write_folder, tmp_path):
    write_folder(tmp_path, {"test_batch.bin": binary_batch(IMAGES)})
    with pytest.raises(ValueError, match="lacks data_batch_1 to data_batch_5"):
        read_cifar10(tmp_path)


def test_a_batch_that_is_there_twice(write_folder, tmp_path):
    write_folder(tmp_path, batches("bin") | {"copy/test_batch.bin": binary_batch(IMAGES)})
    with pytest.raises(ValueError, match="test_batch is there twice"):
        read_cifar10(tmp_path)


class Malicious:
    """Unpickled in the ordinary way, it creates a file."""

    def __init__(self, victim: Path):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickled_code_is_not_run(write_folder, tmp_path, protocol):
    victim = tmp_path / "victim"
    attack = pickle.dumps({b"data": Malicious(victim), b"labels": [1]}, protocol=protocol)
    write_folder(tmp_path / "cifar-10-batches-py", {"data_batch_1": attack, "test_batch": attack})
    with pytest.raises(ValueError, match="no image batch needs"):
        cifar10(tmp_path)
    assert not victim.exists()
    pickle.loads(attack)
    assert victim.exists(), "it would have done harm"


NOT_NEEDED = "no image batch needs"
ODD = "built in a way that no image batch is"
ENCODE = b"c_codecs\nencode\nX\x01\x00\x00\x00xX\x03\x00\x00\x00hex\x86R."
STRANGE = {
    "a function that was not asked for": (b"\x80\x02cbuiltins\neval\n.", NOT_NEEDED),
    "numpy's own loader": (b"\x80\x02cnumpy\nload\nU\x01x\x85R.", NOT_NEEDED),
    "an attribute of a stand-in": (b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.sum\x93.", NOT_NEEDED),
    "an instance made without its constructor": (b"\x80\x02cnumpy\ndtype\n)\x81.", NOT_NEEDED),
    "an extension": (b"\x80\x02\x82\x01.", NOT_NEEDED),
    "a persistent object": (b"\x80\x02U\x01xQ.", NOT_NEEDED),
    "a memo of 32 GB": (b"\x80\x02Nr\xff\xff\xff\xff.", ODD),
    "tuples without end": (b"\x80\x02N" + b"\x85" * 10_000 + b".", ODD),
    "another encoding": (b"\x80\x02" + ENCODE, "encodes bytes as 'hex'"),
    "an array made by its class": (b"\x80\x02cnumpy\nndarray\nM\xff\xff\x85R.", "takes no arguments"),
    "a text of 2 GB": (b"\x80\x02T\xff\xff\xff\x7f.", "expected 2147483647 bytes"),
}


@pytest.mark.parametrize(("program", "reason"), list(STRANGE.values()), ids=STRANGE)
def test_strange_pickles_are_refused(write_folder, tmp_path, program, reason):
    write_folder(tmp_path, {"data_batch_1": program, "test_batch": program})
    with pytest.raises(ValueError, match=f"data_batch_1 is not a batch of CIFAR-10, or damaged: .*{reason}"):
        read_cifar10(tmp_path)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


UNSAFE = [
    (special("../evil", tarfile.REGTYPE), "'../evil' would lie outside"),
    (special("cifar/../../test_batch.bin", tarfile.REGTYPE), "would lie outside"),
    (special("/etc/evil", tarfile.REGTYPE), "'/etc/evil' would lie outside"),
    (special("cifar/test_batch.bin", tarfile.SYMTYPE, "/etc/passwd"), "a link or device"),
    (special("cifar/test_batch.bin", tarfile.LNKTYPE, "../../other"), "a link or device"),
    (special("cifar/fifo", tarfile.FIFOTYPE), "'cifar/fifo' is a link or device"),
    (special("cifar/null", tarfile.CHRTYPE), "'cifar/null' is a link or device"),
]


@pytest.mark.parametrize(("member", "message"), UNSAFE, ids=[message for _, message in UNSAFE])
def test_unsafe_members_are_refused(tmp_path, member, message):
    write_tar(tmp_path / "cifar-10-binary.tar.gz", batches("bin"), member)
    with pytest.raises(ValueError, match=f"cifar-10-binary.tar.gz: member .*{message}"):
        cifar10(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"cifar-10-binary.tar.gz"}, "nothing is unpacked"


@pytest.mark.parametrize("where", ["before", "header"])
def test_an_archive_bomb_is_not_unpacked(tmp_path, monkeypatch, where):
    monkeypatch.setattr("plastic_rl.envs.datasets.cifar10_archive._TOTAL_BYTES", 3_000_000)
    path = tmp_path / "cifar-10-binary.tar.gz"
    bomb = special("padding", tarfile.REGTYPE if where == "before" else tarfile.XHDTYPE)
    bomb.size = 4_000_000
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(bomb.tobuf(tarfile.USTAR_FORMAT))
        stream.write(bytes(4_000_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match="its content is larger than the dataset can be"):
        read_cifar10(path)


@pytest.mark.parametrize("damage", ["truncated", "no archive", "empty", "flipped", "end missing", "no tar"])
def test_damaged_archives_are_named(tmp_path, damage):
    path = write_tar(tmp_path / "cifar-10-binary.tar.gz", batches("bin"))
    whole = path.read_bytes()
    middle = len(whole) // 2
    contents = {
        "truncated": whole[:middle],
        "no archive": b"<html>not found</html>",
        "empty": b"",
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "end missing": whole[:-8],
        "no tar": gzip.compress(b"text" * 1000),
    }
    path.write_bytes(contents[damage])
    with pytest.raises(ValueError, match=r"binary.tar.gz.*(truncated|damaged).*data fetch cifar10"):
        cifar10(tmp_path)


@pytest.mark.skipif(not os.environ.get("PLASTIC_RL_DATA"), reason="PLASTIC_RL_DATA is not set")
def test_the_real_cifar10(monkeypatch):
    monkeypatch.undo()
    data = cifar10()
    assert len(data.train) in range(10_000, 50_001, 10_000)
    assert data.test.shape == (10_000, 3, 32, 32)
    for images in (data.train, data.test):
        # The known means of the three channels, which tell their order and the images' scale.
        means = images[:10_000].mean((0, 2, 3)) / 255
        assert np.allclose(means, (0.491, 0.482, 0.447), atol=0.01)
        # Neighbouring pixels are alike only if rows are rows.
        steps = np.abs(np.diff(images[:1000].astype(int), axis=3)).mean()
        assert steps < 20
