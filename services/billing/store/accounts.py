"""Accounts and their balances. The caller opens the transaction. Balances are locked in order of their account's id,
always and everywhere, so that nobody waits in a circle."""

from collections.abc import Sequence
from typing import Final, Literal

from libs.runtime.postgres import Connection
from services.billing.ledger import Wallet
from services.billing.portion import Bucket, Posted

Kind = Literal["cust_cash", "cust_plan"]

CASH: Final[Kind] = "cust_cash"
PLAN: Final[Kind] = "cust_plan"
KINDS: Final = (CASH, PLAN)


class KeyUsed(ValueError):
    """An idempotency key that already moved something else."""


async def wallets(connection: Connection, orgs: Sequence[int]) -> dict[int, Wallet]:
    """The accounts of each org that has any."""
    rows = await connection.fetch(
        """
        SELECT org_id, max(account_id) FILTER (WHERE kind = 'cust_cash') AS cash,
            max(account_id) FILTER (WHERE kind = 'cust_plan') AS plan
        FROM account WHERE org_id = ANY($1) GROUP BY org_id
        """,
        orgs,
    )
    return {row["org_id"]: Wallet(cash=row["cash"], plan=row["plan"]) for row in rows}


async def house_account(connection: Connection, kind: str, shard: int = 0) -> int:
    return int(await connection.fetchval("SELECT account_id FROM account WHERE kind = $1 AND shard = $2", kind, shard))


async def credit_org(  # noqa: PLR0917 - what a transfer is made of
    connection: Connection, org: int, amount: int, idem_key: str, reason: str, kind: Kind = "cust_cash"
) -> bool:
    """Credits an org at the house's expense; False when this key did just that before. Raises KeyUsed."""
    credited = await ensure_account(connection, org, kind)
    promo = await house_account(connection, "promo_expense")
    tag = await connection.execute(
        """
        INSERT INTO transfer (idem_key, kind, debit_id, credit_id, amount, reason)
        VALUES ($1, 'adjustment', $2, $3, $4, $5) ON CONFLICT (idem_key) DO NOTHING
        """,
        idem_key,
        promo,
        credited,
        amount,
        reason,
    )
    if tag == "INSERT 0 0":
        known = await connection.fetchrow("SELECT credit_id, amount FROM transfer WHERE idem_key = $1", idem_key)
        if known is None or (known["credit_id"], known["amount"]) != (credited, amount):
            raise KeyUsed("it stands for another org or another amount")
        return False
    await connection.execute(
        """
        UPDATE balance SET debits = debits + CASE WHEN account_id = $1 THEN $3::bigint ELSE 0 END,
            credits = credits + CASE WHEN account_id = $2 THEN $3::bigint ELSE 0 END
        WHERE account_id IN (SELECT account_id FROM balance WHERE account_id IN ($1, $2)
            ORDER BY account_id FOR NO KEY UPDATE)
        """,
        promo,
        credited,
        amount,
    )
    return True


async def ensure_account(connection: Connection, org: int, kind: Kind) -> int:
    """A new account of an org that is frozen is frozen too."""
    await connection.execute("INSERT INTO account (kind, org_id) VALUES ($1, $2) ON CONFLICT DO NOTHING", kind, org)
    account = int(
        await connection.fetchval("SELECT account_id FROM account WHERE kind = $1 AND org_id = $2", kind, org)
    )
    await connection.execute(
        """
        INSERT INTO balance (account_id, frozen, frozen_for)
        SELECT $1, coalesce(bool_or(b.frozen), FALSE), max(b.frozen_for)
        FROM balance b JOIN account a USING (account_id) WHERE a.org_id = $2 ON CONFLICT DO NOTHING
        """,
        account,
        org,
    )
    return account


async def posted(connection: Connection, org: int, *, lock: bool = False) -> Posted:
    """The org's credit; nothing for an org that never had any. ``lock`` keeps others from moving it in this
    transaction."""
    rows = await connection.fetch(
        f"""
        SELECT a.kind, b.credits - b.debits AS posted, b.leased, b.frozen,
            (SELECT coalesce(sum(CASE a.kind WHEN 'cust_plan' THEN plan_granted - plan_consumed
                    ELSE granted - consumed END), 0)::bigint
                FROM lease WHERE org_id = $1 AND state = 'doubt') AS in_doubt
        FROM balance b JOIN account a USING (account_id)
        WHERE a.kind = ANY($2) AND a.org_id = $1
        ORDER BY a.account_id {"FOR NO KEY UPDATE OF b" if lock else ""}
        """,  # noqa: S608 - one of two constants
        org,
        KINDS,
    )
    found = {row["kind"]: Bucket(row["posted"], row["leased"], row["in_doubt"]) for row in rows}
    return Posted(
        cash=found.get("cust_cash", Bucket()),
        plan=found.get("cust_plan", Bucket()),
        frozen=any(row["frozen"] for row in rows),
    )


async def change_leased(connection: Connection, org: int, cash: int, plan: int = 0) -> None:
    """By how much more is leased. The balances are locked."""
    await connection.execute(
        """
        UPDATE balance b SET leased = b.leased + CASE a.kind WHEN 'cust_plan' THEN $3::bigint ELSE $2::bigint END
        FROM account a WHERE a.account_id = b.account_id AND a.org_id = $1 AND a.kind = ANY($4)
            AND CASE a.kind WHEN 'cust_plan' THEN $3::bigint ELSE $2::bigint END <> 0
        """,
        org,
        cash,
        plan,
        KINDS,
    )


async def consumed_of_open_lease(connection: Connection, org: int) -> int:
    """What the ledger has taken out of the open leases."""
    return int(
        await connection.fetchval(
            """
            SELECT coalesce(sum(consumed + plan_consumed), 0)::bigint FROM lease
            WHERE org_id = $1 AND state = 'open'
            """,
            org,
        )
    )


async def freeze(connection: Connection, org: int, reason: str | None) -> None:
    """Keeps an org from spending, for a reason; None lets it spend again."""
    await posted(connection, org, lock=True)
    await connection.execute(
        """
        UPDATE balance b SET frozen = $2::text IS NOT NULL, frozen_for = $2
        FROM account a WHERE a.account_id = b.account_id AND a.org_id = $1
        """,
        org,
        reason,
    )
