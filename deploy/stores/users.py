"""The lists of users of Redis and RabbitMQ, with passwords filled in, and the same rights on another virtual host.

``start.sh`` fills the same lists in containers. Standard library only: `make up` reads this before anything else.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).parent
REDIS: Final = _HERE / "redis.acl"
RABBITMQ: Final = _HERE / "rabbitmq.json"
PRODUCER: Final = _HERE / "producer.json"
MARK: Final = re.compile(r"@([A-Z_]+)@")


def filled(template: Path, passwords: Mapping[str, str]) -> str:
    """The list with each password in its place and without comments. Raises KeyError for one that is missing."""
    lines = template.read_text(encoding="utf-8").splitlines()
    text = "".join(f"{line}\n" for line in lines if not line.startswith("#"))
    return MARK.sub(lambda mark: passwords[mark[1]], text)


def passwords_of(template: Path) -> set[str]:
    """The names of the passwords that the list wants."""
    return set(MARK.findall(template.read_text(encoding="utf-8")))


def permissions(vhost: str) -> dict[str, Any]:
    """Definitions of one more virtual host, on which the users of the list have the rights that it gives them."""
    known = json.loads(RABBITMQ.read_text(encoding="utf-8"))
    return {"vhosts": [{"name": vhost}], "permissions": [{**each, "vhost": vhost} for each in known["permissions"]]}
