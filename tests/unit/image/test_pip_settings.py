"""What of a machine's pip configuration reaches the pip inside the build."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from deploy.image import pip_settings
from deploy.image.pip_settings import CERTIFICATE_INSIDE, settings_of


def options(text: str) -> dict[str, str]:
    parser = ConfigParser(interpolation=None)
    parser.read_string(text)
    return dict(parser["global"])


def test_a_machine_without_a_configuration_hands_on_nothing() -> None:
    settings = settings_of("", {})
    assert (options(settings.text), settings.certificate, settings.folders) == ({}, None, [])


def test_indexes_are_handed_on_and_what_concerns_this_machine_alone_is_not() -> None:
    listing = """global.cache-dir='/home/me/.cache'
global.index-url='https://me:pass%20word@packages.example/simple'
global.timeout='60'
global.user='true'
"""
    assert options(settings_of(listing, {}).text) == {
        "index-url": "https://me:pass%20word@packages.example/simple",
        "timeout": "60",
    }


def test_several_places_may_stand_in_one_option_however_they_are_separated() -> None:
    listing = (
        r"""global.extra-index-url='https://a.example/simple\nhttps://b.example/simple https://c.example/simple'"""
    )
    assert options(settings_of(listing, {}).text) == {
        "extra-index-url": "https://a.example/simple https://b.example/simple https://c.example/simple"
    }


def test_the_environment_is_stronger_than_the_command_and_that_than_the_file() -> None:
    listing = """:env:.timeout='1'
global.proxy='http://file.example'
global.timeout='3'
install.proxy='http://command.example'
install.timeout='2'
freeze.retries='9'
"""
    assert options(settings_of(listing, {}).text) == {"timeout": "1", "proxy": "http://command.example"}


@pytest.mark.parametrize(
    ("listing", "environment", "expected"),
    [
        ("global.cert='/etc/own.pem'", {}, "/etc/own.pem"),
        ("global.cert='/etc/own.pem'", {"REQUESTS_CA_BUNDLE": "/etc/other.pem"}, "/etc/own.pem"),
        ("", {"REQUESTS_CA_BUNDLE": "/etc/other.pem"}, "/etc/other.pem"),
        ("", {"CURL_CA_BUNDLE": "/etc/third.pem"}, "/etc/third.pem"),
    ],
)
def test_certificates_are_a_secret_and_known_inside_by_its_place(
    listing: str, environment: dict[str, str], expected: str
) -> None:
    settings = settings_of(listing, environment)
    assert settings.certificate == Path(expected)
    assert options(settings.text) == {"cert": CERTIFICATE_INSIDE}


def test_local_folders_are_shown_to_the_build_and_an_index_with_the_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "index" / "simple").mkdir(parents=True)
    (tmp_path / "my wheels").mkdir()
    (tmp_path / "wheels").mkdir()
    listing = f"""global.extra-index-url='file://{tmp_path}/index/simple https://a.example/simple'
global.find-links='{tmp_path}/wheels file://{tmp_path}/my%20wheels {tmp_path}/missing https://b.example/wheels'
"""
    assert settings_of(listing, {}).folders == [tmp_path / "index", tmp_path / "wheels", tmp_path / "my wheels"]


def test_the_configuration_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    settings = settings_of("global.index-url='https://me:password@packages.example/simple'", {})
    secrets = pip_settings.write(settings, tmp_path)
    assert set(secrets) == {"pip_conf"}
    assert secrets["pip_conf"].stat().st_mode & 0o777 == 0o600
    assert secrets["pip_conf"].read_text("utf-8") == settings.text
