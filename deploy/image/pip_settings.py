"""This machine's pip configuration, for the pip inside the build: shown to it as secrets, never part of the image."""

import ast
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

CERTIFICATE_INSIDE: Final = "/run/secrets/pip_cert"
INDEXES: Final = ("index-url", "extra-index-url")
PLACES: Final = (*INDEXES, "find-links")
CARRIED: Final = (*PLACES, "trusted-host", "no-index", "proxy", "timeout", "default-timeout", "retries")
SECTIONS: Final = (":env:", "install", "global")  # the strongest first, as pip has it


@dataclass(frozen=True)
class PipSettings:
    """A configuration file's text, the certificates it speaks of, and the folders that it takes packages from."""

    text: str
    certificate: Path | None
    folders: Sequence[Path]


def settings_of(listing: str, environment: Mapping[str, str]) -> PipSettings:
    """From what ``pip config list`` prints. Settings that only make sense on this machine stay here."""
    found = _strongest(listing)
    certificate = found.get("cert") or environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    carried: dict[str, str] = {name: found[name] for name in CARRIED if name in found}
    if certificate:
        carried["cert"] = CERTIFICATE_INSIDE
    lines = [f"{name} = {' '.join(value.split())}" for name, value in carried.items()]
    return PipSettings(
        text="\n".join(["[global]", *lines, ""]),
        certificate=Path(certificate) if certificate else None,
        folders=_folders(found),
    )


def write(settings: PipSettings, folder: Path) -> dict[str, Path]:
    """The build's secrets by id; the configuration is written to ``folder``, for its owner alone."""
    configuration = folder / "pip.conf"
    with os.fdopen(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(settings.text)
    certificate = {"pip_cert": settings.certificate} if settings.certificate else {}
    return {"pip_conf": configuration, **certificate}


def _strongest(listing: str) -> dict[str, str]:
    """Each option as ``pip install`` would see it. A line reads ``section.option='value'``."""
    values: dict[tuple[str, str], str] = {}
    for line in listing.splitlines():
        name, equals, quoted = line.partition("=")
        section, dot, option = name.rpartition(".")
        if equals and dot:
            values[section, option] = str(ast.literal_eval(quoted))
    options = {option for _, option in values}
    return {
        option: next(values[section, option] for section in SECTIONS if (section, option) in values)
        for option in sorted(options)
        if any((section, option) in values for section in SECTIONS)
    }


def _folders(found: Mapping[str, str]) -> list[Path]:
    """Local folders among the places. An index's files lie beside it, so its parent is needed."""
    folders: dict[Path, None] = {}
    for name in PLACES:
        for place in found.get(name, "").split():
            path = _local(place)
            if path is not None and path.is_dir():
                folders[path.parent if name in INDEXES and path.parent != Path("/") else path] = None
    return list(folders)


def _local(place: str) -> Path | None:
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(place) if place.startswith("/") else None
