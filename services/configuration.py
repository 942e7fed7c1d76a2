"""The reference page of every setting, made from the settings themselves."""

from importlib import import_module
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from libs.runtime.settings import ServiceSettings, Settings, names_of
from services.migrations import MigrateSettings

HEAD: Final = """# Configuration

Made by `make docs` from the settings in the code; do not edit.

Every value comes from the environment. A service looks for its own name first (`TOKENOUTPUT_EDGE_REDIS_URL`), then
for the shared one (`TOKENOUTPUT_REDIS_URL`). Either name with `_FILE` behind it names a file that holds the value, for
secrets that are mounted. A service that cannot start says which names are wrong, one to a line. Outside
`TOKENOUTPUT_ENV=dev` it refuses secrets that are empty, shorter than 16 characters or the demo's.

Provider credentials are read by the router under the names the catalog gives: `DEEPSEEK_API_KEY`,
`DASHSCOPE_API_KEY`, `ZHIPU_API_KEY`, `ANTHROPIC_API_KEY`, or the same with `_FILE`.
"""
SERVICES: Final = ("edge", "router", "billing", "catalog")


def page() -> str:
    """The whole page as Markdown."""
    sections = [HEAD, _section("Every service", ServiceSettings, shared=True)]
    for service in SERVICES:
        cls = getattr(import_module(f"services.{service}.settings"), f"{service.capitalize()}Settings")
        sections.append(_section(service.capitalize(), cls))
    sections.append(_section("Migrations (`python -m services migrate`)", MigrateSettings))
    return "\n".join(sections)


def _section(title: str, cls: type[Settings], *, shared: bool = False) -> str:
    rows = [
        f"| `{names_of(cls, name)[-1 if shared else 0]}` | {_default(field)} | {field.description} |"
        for name, field in cls.model_fields.items()
        if shared or name not in ServiceSettings.model_fields or field.default != _inherited(name)
    ]
    return "\n".join([f"## {title}\n", "| Name | Default | What it is |", "|---|---|---|", *rows, ""])


def _inherited(name: str) -> Any:
    return ServiceSettings.model_fields[name].default


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required, secret" if field.annotation is SecretStr else "required"
    return f"`{field.default}`" if field.default not in ("", None) else "empty"
