"""Settings from the environment, frozen at start.

A field ``port`` of the edge is read from ``TOKENOUTPUT_EDGE_PORT``, else from ``TOKENOUTPUT_PORT``. Either name with
``_FILE`` behind it names a file that holds the value, for secrets that are mounted.
"""

import errno
import os
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX: Final = "TOKENOUTPUT_"
DEV_MARK: Final = "dev-only"
MIN_SECRET: Final = 16


class SettingsError(SystemExit):
    """The environment does not describe a service that may start. Says which names are wrong, one to a line."""


class _Environment(PydanticBaseSettingsSource):
    """The environment under the naming rule of this module."""

    def get_field_value(
        self,
        field: FieldInfo,  # noqa: ARG002 - the base class hands it over
        field_name: str,
    ) -> tuple[Any, str, bool]:
        for name in names_of(self.settings_cls, field_name):
            if (value := os.environ.get(name)) is not None:
                return value, field_name, False
            if path := os.environ.get(f"{name}_FILE"):
                return _content_of(path), field_name, False
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                found[name] = value
        return found


class Settings(BaseSettings):
    """What every program of the project reads."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    scope: ClassVar[str] = ""

    env: Literal["production", "dev"] = Field(
        default="production", description="`dev` allows the demo's well-known secrets."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto` is colours on a terminal and JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - replaced by _Environment
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env is read behind the operator's back
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - `*_FILE` does this
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls)

    @field_validator("*")
    @classmethod
    def _refuse_weak_secret(cls, value: object, info: ValidationInfo) -> object:
        """``env`` stands first, so it is known here unless it is wrong itself."""
        if isinstance(value, SecretStr):
            reason = _weakness(value.get_secret_value(), info.data.get("env", "production"))
            if reason:
                raise ValueError(reason)
        return value


class ServiceSettings(Settings):
    """What every service reads besides its own."""

    header_bytes: ClassVar[int] = 8190  # the longest header taken: aiohttp's own limit

    host: str = Field(default="127.0.0.1", description="Address of the service's own port.")
    port: int = Field(description="The service's own port.", ge=0, le=65535)
    admin_host: str = Field(default="127.0.0.1", description="Address of the port for probes and metrics.")
    admin_port: int = Field(description="Port of /livez, /readyz and /metrics.", ge=0, le=65535)
    drain_seconds: float = Field(default=25, description="How long requests in flight may finish after SIGTERM.", ge=0)
    internal_secret: SecretStr = Field(description="Signs what services say to each other. The same for all of them.")


S = TypeVar("S", bound="Settings")


def names_of(settings_cls: type[BaseSettings], field_name: str) -> list[str]:
    """The environment names of a field, strongest first."""
    scope = getattr(settings_cls, "scope", "")
    own = [f"{PREFIX}{scope}_{field_name}".upper()] if scope else []
    return [*own, f"{PREFIX}{field_name}".upper()]


def load(cls: type[S]) -> S:
    """The settings of the environment, or SettingsError with one line per wrong name."""
    try:
        return cls()
    except OSError as error:
        raise SettingsError(f"cannot read the secret file {error.filename}: {error.strerror}") from error
    except ValidationError as error:
        lines = [f"  {_where(cls, item['loc'])}: {_reason(item['msg'])}" for item in error.errors()]
        raise SettingsError("\n".join([f"{cls.__name__} cannot start:", *lines])) from error


def _where(cls: type[Settings], location: tuple[int | str, ...]) -> str:
    """The name that the wrong value came from; for a missing one, the strongest that it could have."""
    if not location:
        return "settings"
    names = names_of(cls, str(location[0]))
    return next((n for n in names if n in os.environ or f"{n}_FILE" in os.environ), names[0])


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")


def _content_of(path: str) -> str:
    """Raises OSError, which names the file, for one that is no text as well."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "it is not UTF-8 text", path) from error


def _weakness(secret: str, env: str) -> str | None:
    if not secret:
        return "is empty"
    if env == "dev":
        return None
    if DEV_MARK in secret:
        return "is the demo's well-known value; make your own"
    too_short = len(secret) < MIN_SECRET and "://" not in secret  # an address may be short
    return f"is shorter than {MIN_SECRET} characters" if too_short else None
