"""`python -m deploy.demo.seed --memory FILE --gateway URL`: makes the demo's customer once, says how to call."""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from deploy.local.demo import Operator, funded_key
from deploy.local.errors import StackError

MODEL: Final = "deepseek-chat"


def how_to_call(gateway: str, key: str) -> str:
    """What a person needs next."""
    return "\n".join(
        [
            "",
            f"Base URL  {gateway}      (OpenAI SDKs: {gateway}/v1)",
            f"Demo key  {key}",
            "",
            f"curl {gateway}/v1/chat/completions \\",
            f"  -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\",
            f'  -d \'{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "Hello"}}]}}\'',
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.seed", description="The demo's first customer.")
    parser.add_argument("--memory", type=Path, required=True, help="file that remembers the customer")
    parser.add_argument("--gateway", required=True, help="the edge's address, as people reach it")
    given = parser.parse_args()
    if os.environ.get("TOKENOUTPUT_ENV") != "dev":
        sys.exit("The demo's customer is for TOKENOUTPUT_ENV=dev only: its credit was paid by nobody.")
    try:
        key = funded_key(Operator(os.environ, given.memory.with_suffix(".log")), given.memory)
    except StackError as error:
        sys.exit(str(error))
    print(how_to_call(given.gateway, key))


if __name__ == "__main__":
    main()
