"""Which files are migrations, and in which order they apply."""

import hashlib
from pathlib import Path

import pytest

from libs.runtime.migrate import MigrationError, files_of


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text(f"-- {name}\n", encoding="utf-8")
    return folder


def test_files_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    found = files_of(put(tmp_path, "0002_second.sql", "0001_first_of_all.sql", "0003_3.sql"))
    assert [(m.number, m.name) for m in found] == [
        (1, "0001_first_of_all.sql"),
        (2, "0002_second.sql"),
        (3, "0003_3.sql"),
    ]


def test_a_file_is_known_by_the_digest_of_its_text(tmp_path: Path) -> None:
    (found,) = files_of(put(tmp_path, "0001_a.sql"))
    assert found.sql == "-- 0001_a.sql\n"
    assert found.sha256 == hashlib.sha256(b"-- 0001_a.sql\n").hexdigest()
    (tmp_path / "0001_a.sql").write_text("-- 0001_a.sql \n", encoding="utf-8")
    assert files_of(tmp_path)[0].sha256 != found.sha256


def test_other_files_do_not_count(tmp_path: Path) -> None:
    assert len(files_of(put(tmp_path, "0001_a.sql", "README.md", "0002_notes.txt"))) == 1


@pytest.mark.parametrize(
    "name", ["1_a.sql", "0001-a.sql", "0001_A.sql", "0001_.sql", "a.sql", "0001_a.b.sql", "00001_a.sql"]
)
def test_a_file_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MigrationError, match=r"not named like 0001_what_it_does\.sql"):
        files_of(put(tmp_path, name))


@pytest.mark.parametrize(
    "names",
    [
        ("0002_a.sql",),
        ("0000_a.sql", "0001_b.sql"),
        ("0001_a.sql", "0003_b.sql"),
        ("0001_a.sql", "0001_b.sql"),
    ],
)
def test_numbers_start_at_1_and_leave_no_gap_and_no_double(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(MigrationError, match="not 1, 2, 3"):
        files_of(put(tmp_path, *names))


def test_a_folder_without_files_is_a_mistake_and_not_nothing_to_do(tmp_path: Path) -> None:
    """An image built without its SQL files must not report that everything is up to date."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MigrationError, match="no migration"):
            files_of(folder)
