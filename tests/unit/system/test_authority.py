"""The certificate authority and the bundles are whole files, whoever makes them at the same time."""

from __future__ import annotations

import asyncio
import os
import pwd
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import certs

from mitmproxy_ai_cache.configuration import writable
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.system import authority, bundles, trust
from mitmproxy_ai_cache.system.authority import CERTIFICATE, KEY, make_authority, why_unusable
from mounts import full, with_mounts

FILES = {
    "mitmproxy-ca.pem", "mitmproxy-ca.p12", "mitmproxy-ca-cert.pem", "mitmproxy-ca-cert.p12", "mitmproxy-ca-cert.cer",
    "mitmproxy-dhparam.pem",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an authority."""
    folder = tmp_path_factory.mktemp("made")
    make_authority(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def folder(made: dict[str, bytes], tmp_path: Path) -> Path:
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def public_key(pem: bytes) -> object:
    found = authority._first_certificate(pem)
    assert found is not None
    return found.public_key()


def test_a_new_authority_has_all_its_files_and_nothing_else(made: dict[str, bytes], tmp_path: Path) -> None:
    assert set(made) == FILES
    make_authority(tmp_path / "new" / "ca")
    assert stat.S_IMODE((tmp_path / "new" / "ca" / KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new" / "ca").stat().st_mode) == 0o700


def test_an_authority_that_is_whole_is_left_alone(folder: Path) -> None:
    before = {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in folder.iterdir()}
    make_authority(folder)
    assert {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in folder.iterdir()} == before


@given(st.data())
def test_a_key_cut_at_any_byte_is_noticed(made: dict[str, bytes], data: st.DataObject) -> None:
    whole = made[KEY]
    length = data.draw(st.integers(0, len(whole) - 2))  # the last byte is a line end
    assert why_unusable(whole[:length])
    assert why_unusable(whole) == ""


@pytest.mark.parametrize("keep", [0, 100, 1700, 2800])
def test_a_torn_key_is_set_aside_and_a_new_authority_made(
    folder: Path, made: dict[str, bytes], keep: int, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / KEY).write_bytes(made[KEY][:keep])
    certificate = make_authority(folder)
    assert why_unusable((folder / KEY).read_bytes()) == ""
    assert public_key(certificate.read_bytes()) == public_key((folder / KEY).read_bytes()) != public_key(made[KEY])
    aside = next(folder.glob("broken-*"))
    assert (aside / KEY).read_bytes() == made[KEY][:keep], "nothing is deleted"
    assert [record.message.count("\n") for record in caplog.records] == [0]
    assert aside.name in caplog.text
    certs.CertStore.from_store(folder, "mitmproxy", 2048)


@pytest.mark.parametrize("name", [CERTIFICATE, "mitmproxy-dhparam.pem"])
@pytest.mark.parametrize("keep", [None, 0, 100])
def test_another_torn_or_missing_file_is_made_again_for_the_same_key(
    folder: Path, made: dict[str, bytes], name: str, keep: int | None
) -> None:
    (folder / name).unlink()
    if keep is not None:
        (folder / name).write_bytes(made[name][:keep])
    make_authority(folder)
    assert (folder / name).read_bytes() == made[name]
    assert (folder / KEY).read_bytes() == made[KEY]


def test_a_certificate_of_another_key_is_replaced(folder: Path, made: dict[str, bytes], tmp_path: Path) -> None:
    other = make_authority(tmp_path / "other").read_bytes()
    (folder / CERTIFICATE).write_bytes(other)  # what two first starts at once left behind
    make_authority(folder)
    assert (folder / CERTIFICATE).read_bytes() == made[CERTIFICATE]


def test_an_authority_of_ones_own_is_left_alone(folder: Path, made: dict[str, bytes]) -> None:
    key = rsa.generate_private_key(65537, 2048)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / KEY).write_bytes(encrypted + made[CERTIFICATE])  # mitmproxy is given its passphrase
    make_authority(folder)
    assert (folder / KEY).read_bytes() == encrypted + made[CERTIFICATE]


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    make_authority(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == FILES


def test_without_a_home_directory_nothing_is_made_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="no home directory"):
        make_authority(trust.directory())
    found = writable.trouble(Settings.parse({}))
    assert found is not None
    assert found.reason == "there is no home directory"
    assert not list(tmp_path.iterdir())


MAKE = "import sys; from pathlib import Path; from mitmproxy_ai_cache.system.trust import make_authority as m; "
MAKE_IT = MAKE + "print(m(Path(sys.argv[1])).read_text())"
KILLED = MAKE + (
    "import os, threading; from mitmproxy import certs; real = certs.CertStore.create_store\n"
    "def create(*given): real(*given); os.kill(os.getpid(), 9)\n"
    "certs.CertStore.create_store = staticmethod(create); m(Path(sys.argv[1]))"
)


def test_a_process_that_is_killed_while_it_makes_one_leaves_no_torn_file(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=60)
    assert killed.returncode == -9
    assert not list(tmp_path.glob("mitmproxy*"))
    make_authority(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize("left", [0, 1000, 5000])
@pytest.mark.thorough
def test_a_full_disk_leaves_no_file_and_the_next_start_works(tmp_path: Path, left: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    code = MAKE + (
        "import os; disk = Path(sys.argv[1]); ca = disk / 'ca'\n"
        "try: m(ca); print('made')\n"
        "except OSError as error: print(error.strerror, [each.name for each in ca.rglob('*')])\n"
        "os.unlink(disk / 'ballast'); m(ca); print(len(list(ca.iterdir())))"
    )
    command = with_mounts(full(disk, left // 4096 * 4096 + 4096), sys.executable, "-c", code, str(disk))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["No space left on device []", "6"], done.stderr


@pytest.mark.slow
def test_24_processes_at_once_make_one_authority(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE_IT, str(tmp_path / "ca")]
    crowd = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(24)]
    said = [process.communicate(timeout=120) for process in crowd]
    assert {errors for _, errors in said} == {""}
    assert len({certificate for certificate, _ in said}) == 1
    assert {file.name for file in (tmp_path / "ca").iterdir()} == FILES


# Bundles


def test_two_runs_with_different_roots_have_a_bundle_each(folder: Path, tmp_path: Path) -> None:
    company = make_authority(tmp_path / "company")
    certificate = folder / CERTIFICATE
    one = trust.write_bundle(folder, certificate, {"SSL_CERT_FILE": str(company)})
    other = trust.write_bundle(folder, certificate, {})
    assert one.parent == other.parent == folder / "bundles"
    assert (company.read_text().strip() in one.read_text(), company.read_text().strip() in other.read_text()) == (
        True,
        False,
    )
    assert trust.write_bundle(folder, certificate, {"SSL_CERT_FILE": str(company)}) == one
    assert not (folder / trust.BUNDLE).exists()


def test_the_java_store_belongs_to_its_bundle(folder: Path, tmp_path: Path) -> None:
    company = make_authority(tmp_path / "company")
    certificate = folder / CERTIFICATE
    one = trust.write_bundle(folder, certificate, {"SSL_CERT_FILE": str(company)})
    other = trust.write_bundle(folder, certificate, {})
    assert trust.write_java_store(one) != trust.write_java_store(other)
    for bundle in (one, other, one):  # the last one published counts, whatever the times of the files say
        published = trust.publish_bundle(folder, bundle)
        assert published.read_bytes() == bundle.read_bytes()
        assert trust.write_java_store(published) == folder / trust.JAVA_STORE
        assert (folder / trust.JAVA_STORE).read_bytes() == trust.write_java_store(bundle).read_bytes()


def aged(file: Path, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(file, (then, then))


def test_a_bundle_goes_when_it_was_unused_for_a_week(tmp_path: Path) -> None:
    old, recent = bundles.write(tmp_path, b"old"), bundles.write(tmp_path, b"recent")
    java = old.with_suffix(".p12")
    java.write_bytes(b"java")
    leftover = old.with_name(".new-xyz")  # of a process that was killed
    leftover.write_bytes(b"half")
    for file in (old, java, leftover):
        aged(file, 7.1)
    aged(recent, 6.9)
    bundles.remove_unused(tmp_path)
    assert list(old.parent.iterdir()) == [recent]


def test_a_bundle_in_use_stays_however_old_it_looks(tmp_path: Path) -> None:
    with bundles.held(lambda: bundles.write(tmp_path, b"roots")) as bundle:
        aged(bundle, 30)
        code = "import sys; from pathlib import Path; from mitmproxy_ai_cache.system import bundles as b; "
        subprocess.run([sys.executable, "-c", code + "b.remove_unused(Path(sys.argv[1]))", str(tmp_path)], check=True)
        assert bundle.read_bytes() == b"roots"
    bundles.remove_unused(tmp_path)
    assert not bundle.exists()


def test_using_a_bundle_makes_it_recent(tmp_path: Path) -> None:
    bundle = bundles.write(tmp_path, b"roots")
    aged(bundle, 30)
    assert bundles.write(tmp_path, b"roots") == bundle
    bundles.remove_unused(tmp_path)
    assert bundle.exists()


def test_a_long_run_keeps_its_bundle_recent_and_brings_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_TOUCH_EVERY", 0.01)
    bundle = bundles.write(tmp_path, b"roots")

    async def run() -> None:
        keeping = asyncio.create_task(bundles.keep_used(bundle))
        aged(bundle, 30)
        while bundles._is_old(bundle):
            await asyncio.sleep(0.01)
        bundle.unlink()
        while not bundle.exists():
            await asyncio.sleep(0.01)
        keeping.cancel()

    asyncio.run(asyncio.wait_for(run(), 60))
    assert bundle.read_bytes() == b"roots"
