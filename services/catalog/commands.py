"""`tokenoutput catalog check|apply FILE`: reviewing a shelf file and publishing it."""

import asyncio
import getpass
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer

from libs.contracts.catalog import Snapshot
from libs.runtime import postgres, settings
from services.catalog import rules, store
from services.catalog.changes import Changes, changes_of
from services.catalog.settings import StoreSettings


def _whoami() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"


app: Final = typer.Typer(name="catalog", help="What is sold, through whom, at what price.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The shelf as TOML.", exists=True, dir_okay=False, readable=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
By = Annotated[str, typer.Option(help="Who publishes, for the record.", default_factory=_whoami)]


@app.command()
def check(file: File, *, as_json: AsJson = False) -> None:
    """Says everything that is wrong with FILE, or that it may be published."""
    snapshot = _read(file, as_json=as_json)
    models, offers = len(snapshot.models), len(snapshot.offers)
    answer = {"ok": True, "models": models, "offers": offers}
    say(answer, f"{file}: {models} models, {offers} offers; may be published", as_json=as_json)


@app.command()
def apply(file: File, by: By, *, as_json: AsJson = False) -> None:
    """Publishes FILE: all of it, or nothing when anything in it is wrong."""
    snapshot = _read(file, as_json=as_json)
    try:
        publication = asyncio.run(_publish(snapshot, by))
    except (*store.FAILED, store.WrongPrice, store.IdTaken) as error:
        reason = str(error) or type(error).__name__
        give_up({"ok": False, "error": reason}, f"nothing was published: {reason}", as_json=as_json)
    version, changes = publication.after.version, changes_of(publication.before, publication.after)
    head = f"published as version {version}" if publication.changed else f"nothing new; still version {version}"
    answer = {"ok": True, "published": publication.changed, "version": version, "changes": changes}
    say(answer, "\n".join([f"{file}: {head}", *_lines(changes)]), as_json=as_json)


async def _publish(snapshot: Snapshot, by: str) -> store.Publication:
    url = settings.load(StoreSettings).database_url.get_secret_value()
    async with postgres.connected(url, "catalog") as connection:
        return await store.publish(connection, snapshot, by)


def _read(file: Path, *, as_json: bool) -> Snapshot:
    try:
        return rules.read(_text(file))
    except rules.Refused as refused:
        mistakes = [{"file": str(file), **msgspec.structs.asdict(mistake)} for mistake in refused.mistakes]
        lines = "\n".join(f"{file}:{mistake.line}: {mistake.path}: {mistake.reason}" for mistake in refused.mistakes)
        give_up({"ok": False, "mistakes": mistakes}, lines, as_json=as_json)


def _text(file: Path) -> str:
    raw = file.read_bytes()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + raw.count(b"\n", 0, error.start)
        raise rules.Refused([rules.Located(line, "TOML", "is not UTF-8")]) from error


def _lines(changes: Changes) -> list[str]:
    return [f"  {kind}: {', '.join(names)}" for kind, names in msgspec.structs.asdict(changes).items() if names]


def say(answer: object, text: str, *, as_json: bool) -> None:
    typer.echo(msgspec.json.encode(answer).decode() if as_json else text)


def give_up(answer: dict[str, Any], text: str, *, as_json: bool) -> NoReturn:
    """JSON goes where a program looks for it; sentences for people go to stderr."""
    typer.echo(msgspec.json.encode(answer).decode() if as_json else text, err=not as_json)
    raise typer.Exit(1)
