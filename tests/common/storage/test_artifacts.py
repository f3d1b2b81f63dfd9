"""Files by the hash of their bytes."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from tapelab.common.errors import ConfigError, RegistryError
from tapelab.common.storage.artifacts import ArtifactStore


def test_bytes_come_back_under_their_sha256_and_are_stored_once(tmp_path):
    store = ArtifactStore(tmp_path / "a")
    name = store.put(b"model")
    assert name == hashlib.sha256(b"model").hexdigest()
    assert store.get(name) == b"model"
    assert store.put(b"model") == name
    assert [p for p in (tmp_path / "a").rglob("*") if p.is_file()] == [store.path(name)]


def test_a_file_is_stored_by_its_bytes(tmp_path):
    file = tmp_path / "model.txt"
    file.write_bytes(b"trees")
    store = ArtifactStore(str(tmp_path / "a"))
    assert store.get(store.put_file(file)) == b"trees"


def test_damaged_bytes_are_refused_and_repaired_by_storing_them_again(tmp_path):
    store = ArtifactStore(tmp_path)
    name = store.put(b"model")
    store.path(name).write_bytes(b"other")
    with pytest.raises(RegistryError, match="damaged") as caught:
        store.get(name)
    assert name in caught.value.expected
    store.put(b"model")
    assert store.get(name) == b"model"


def test_a_missing_artifact_names_the_file_it_should_be(tmp_path):
    with pytest.raises(RegistryError, match="missing") as caught:
        ArtifactStore(tmp_path).get("0" * 64)
    assert str(tmp_path) in caught.value.expected


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "0" * 63, "G" * 64, "0" * 64 + "\n"])
def test_an_address_that_is_no_sha256_is_refused(tmp_path, name):
    with pytest.raises(RegistryError, match="address"):
        ArtifactStore(tmp_path).path(name)


def test_a_url_is_refused_with_the_setting_to_change():
    with pytest.raises(ConfigError, match="TAPELAB_ARTIFACTS"):
        ArtifactStore("s3://bucket/models")


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_behind(tmp_path) -> None:
    """No file of this process may grow beyond 64 kB, as on a disk that is full."""
    script = """
import resource, sys
from tapelab.common.errors import RegistryError
from tapelab.common.storage.artifacts import ArtifactStore
store = ArtifactStore(sys.argv[1])
store.put(b"small")
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    store.put(b"x" * 1_000_000)
except RegistryError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "an artifact of 1,000,000 bytes cannot be written: expected room and rights in" in done.stdout
    assert "make room" in done.stdout
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [b"small"]
