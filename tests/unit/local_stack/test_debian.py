"""Which packages are taken from Debian, and what apt is told."""

from pathlib import Path

import pytest

from deploy.local import debian, packages
from deploy.local.debian import Archive
from deploy.local.errors import StackError


def test_apt_is_kept_inside_its_folder_and_away_from_the_machines_hooks() -> None:
    dump = 'APT::Update::Post-Invoke:: "rm -f /var/cache/apt/*.bin";\nDir "/";\nAcquire::http::Proxy "http://proxy";\n'
    told = debian.configuration(dump, Path("/folder"))
    assert "Post-Invoke" not in told
    assert 'Acquire::http::Proxy "http://proxy";' in told
    assert all("/folder/" in line for line in told.splitlines() if line.startswith("Dir"))


def test_an_installed_erlang_is_not_seen() -> None:
    status = "Package: bash\nStatus: ok\n\nPackage: erlang-base\nStatus: ok\n\nPackage: libc6\nStatus: ok\n"
    assert debian.without_erlang(status) == "Package: bash\nStatus: ok\n\nPackage: libc6\nStatus: ok\n"


def test_only_the_servers_and_their_libraries_are_unpacked() -> None:
    wanted = ["libjemalloc2", "redis-tools", "redis-server", "erlang-base", "rabbitmq-server"]
    assert packages.needed(["adduser", *wanted, "logrotate"]) == wanted


def test_without_apt_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="There is no apt-get here: install redis-server, which"):
        Archive(tmp_path, "redis-server").open()


def test_programs_of_the_machine_are_used_where_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert packages.wanted() == ["redis-server", "rabbitmq-server"]
    (tmp_path / "redis-server").touch(mode=0o755)
    assert packages.wanted() == ["rabbitmq-server"]


def test_the_first_complaint_of_apt_is_the_one_that_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\necho 'W: Failed to fetch InRelease' >&2\necho 'E: No package' >&2\nexit 100\n")
    program.chmod(0o755)
    (tmp_path / "packages").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(StackError, match=r"apt-get says: W: Failed to fetch InRelease$"):
        Archive(tmp_path, "redis-server").simulate(["redis-server"])
