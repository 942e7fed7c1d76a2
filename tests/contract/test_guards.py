"""The guards of `make check` let good repositories pass and stop the others."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.guards import locks, migrations

PYPROJECT: Final = """
[project]
dependencies = ["aiohttp>=3.14", "redis[hiredis]>=8.1"]

[project.optional-dependencies]
dev = ["pytest"]
"""
LOCK: Final = """\
aiohttp==3.14.5 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via tokenoutput (pyproject.toml)
redis[hiredis]==8.1.0 ; python_full_version < '3.13' \\
    --hash=sha256:cc
"""
DEV_LOCK: Final = LOCK + "pytest==9.2.0 \\\n    --hash=sha256:dd\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / "requirements-dev.lock").write_text(DEV_LOCK)
    return tmp_path


def test_locks_that_follow_the_project_pass(project: Path) -> None:
    assert locks.check(project) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("# via", "--index-url https://packages.example/simple # via", "requirements.lock:4: an address"),
        ("    --hash=sha256:cc\n", "", "requirements.lock: redis has no hash"),
        ("aiohttp==3.14.5", "aiohttp==3.13.9", "requirements.lock: aiohttp 3.13.9 is not >=3.14"),
        ("redis[hiredis]==8.1.0", "valkey==6.1.0", "requirements.lock: redis is missing"),
        ("aiohttp==3.14.5", "aiohttp==3.15.0", "requirements-dev.lock: aiohttp is not 3.15.0"),
    ],
)
def test_a_wrong_lock_is_stopped(project: Path, old: str, new: str, fault: str) -> None:
    (project / "requirements.lock").write_text(LOCK.replace(old, new))
    assert fault in locks.check(project)


def test_an_address_in_a_lock_of_node_packages_is_stopped(project: Path) -> None:
    folder = project / "tests" / "agents" / "sdks"
    folder.mkdir(parents=True)
    (folder / "package-lock.json").write_text('{\n  "resolved": "https://packages.example/x.tgz"\n}\n')
    assert locks.check(project) == ["tests/agents/sdks/package-lock.json:2: an address"]


def test_a_tool_that_is_not_locked_is_stopped(project: Path) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT.replace('"pytest"', '"pytest", "mypy"'))
    assert locks.check(project) == ["requirements-dev.lock: mypy is missing"]


def git(repository: Path, *arguments: str) -> None:
    if (program := shutil.which("git")) is None:
        pytest.skip("there is no git here")
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    command = [program, *identity, *arguments]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)  # noqa: S603 - git, as this file says


def commit(repository: Path, path: str, text: str) -> None:
    file = repository / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    git(repository, "add", path)
    git(repository, "commit", "--message", path)


FIRST: Final = "services/billing/migrations/0001_ledger.sql"
SECOND: Final = "services/billing/migrations/0002_charges.sql"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One landed migration, and a commit after it."""
    git(tmp_path, "init", "--initial-branch=main")
    commit(tmp_path, FIRST, "CREATE TABLE charge ();\n")
    commit(tmp_path, "README.md", "words\n")
    return tmp_path


def test_landed_migrations_that_stay_pass(repository: Path) -> None:
    (repository / SECOND).write_text("CREATE TABLE usage ();\n")
    assert list(migrations.landed(repository)) == [FIRST]
    assert migrations.check(repository) == []


def test_an_edit_of_a_landed_migration_is_stopped(repository: Path) -> None:
    (repository / FIRST).write_text("CREATE TABLE charge (id INT);\n")
    (fault,) = migrations.check(repository)
    assert fault.startswith(f"{FIRST} was changed")


def test_an_edit_is_stopped_after_it_was_committed_too(repository: Path) -> None:
    commit(repository, FIRST, "CREATE TABLE charge (id INT);\n")
    (fault,) = migrations.check(repository)
    assert fault.startswith(f"{FIRST} was changed")


def test_a_removed_or_renamed_migration_is_stopped(repository: Path) -> None:
    git(repository, "mv", FIRST, SECOND)
    (fault,) = migrations.check(repository)
    assert fault.startswith(f"{FIRST} was removed")


def test_what_changed_on_a_branch_before_it_was_merged_passes(repository: Path) -> None:
    git(repository, "switch", "--create", "work")
    commit(repository, SECOND, "CREATE TABLE usage ();\n")
    commit(repository, SECOND, "CREATE TABLE usage (id INT);\n")
    git(repository, "switch", "main")
    git(repository, "merge", "--no-ff", "work")
    assert migrations.check(repository) == []
    assert set(migrations.landed(repository)) == {FIRST, SECOND}


def test_a_shallow_clone_compares_with_what_it_has(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    shallow = tmp_path_factory.mktemp("shallow")
    git(shallow, "clone", "--depth=1", repository.as_uri(), ".")
    assert migrations.check(shallow) == []
    (shallow / FIRST).unlink()
    assert len(migrations.check(shallow)) == 1


def test_before_the_first_commit_nothing_has_landed(tmp_path: Path) -> None:
    assert migrations.check(tmp_path) == []
    git(tmp_path, "init")
    assert migrations.check(tmp_path) == []
