"""Accounts and their balances. The caller opens the transaction."""

from collections.abc import Sequence

import msgspec

from libs.runtime.postgres import Connection


class KeyUsed(ValueError):
    """An idempotency key that already moved something else."""


class Posted(msgspec.Struct, frozen=True):
    """An org's cash in nano-USD: what the ledger says, and how much of it is leased to Redis, part of that in doubt."""

    posted: int
    leased: int
    in_doubt: int
    frozen: bool


async def cash_accounts(connection: Connection, orgs: Sequence[int]) -> dict[int, int]:
    rows = await connection.fetch(
        "SELECT org_id, account_id FROM account WHERE kind = 'cust_cash' AND org_id = ANY($1)", orgs
    )
    return {row["org_id"]: row["account_id"] for row in rows}


async def house_account(connection: Connection, kind: str, shard: int = 0) -> int:
    return int(await connection.fetchval("SELECT account_id FROM account WHERE kind = $1 AND shard = $2", kind, shard))


async def credit_org(connection: Connection, org: int, amount: int, idem_key: str, reason: str) -> bool:
    """Moves promotional credit to an org's cash; False when this key did just that before. Raises KeyUsed."""
    cash = await ensure_cash_account(connection, org)
    promo = await house_account(connection, "promo_expense")
    tag = await connection.execute(
        """
        INSERT INTO transfer (idem_key, kind, debit_id, credit_id, amount, reason)
        VALUES ($1, 'adjustment', $2, $3, $4, $5) ON CONFLICT (idem_key) DO NOTHING
        """,
        idem_key,
        promo,
        cash,
        amount,
        reason,
    )
    if tag == "INSERT 0 0":
        known = await connection.fetchrow("SELECT credit_id, amount FROM transfer WHERE idem_key = $1", idem_key)
        if known is None or (known["credit_id"], known["amount"]) != (cash, amount):
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
        cash,
        amount,
    )
    return True


async def ensure_cash_account(connection: Connection, org: int) -> int:
    await connection.execute("INSERT INTO account (kind, org_id) VALUES ('cust_cash', $1) ON CONFLICT DO NOTHING", org)
    account = int(
        await connection.fetchval("SELECT account_id FROM account WHERE kind = 'cust_cash' AND org_id = $1", org)
    )
    await connection.execute("INSERT INTO balance (account_id) VALUES ($1) ON CONFLICT DO NOTHING", account)
    return account


async def posted(connection: Connection, org: int, *, lock: bool = False) -> Posted:
    """The org's cash; zero for an org that never had any. ``lock`` keeps others from moving it in this transaction."""
    row = await connection.fetchrow(
        f"""
        SELECT b.credits - b.debits, b.leased,
            (SELECT coalesce(sum(granted - consumed), 0)::bigint FROM lease WHERE org_id = $1 AND state = 'doubt'),
            b.frozen
        FROM balance b JOIN account a USING (account_id)
        WHERE a.kind = 'cust_cash' AND a.org_id = $1 {"FOR NO KEY UPDATE OF b" if lock else ""}
        """,  # noqa: S608 - one of two constants
        org,
    )
    return Posted(*row) if row else Posted(0, 0, 0, False)  # noqa: FBT003 - a column of the row


async def change_leased(connection: Connection, org: int, amount: int) -> None:
    await connection.execute(
        """
        UPDATE balance SET leased = leased + $2
        WHERE account_id = (SELECT account_id FROM account WHERE kind = 'cust_cash' AND org_id = $1)
        """,
        org,
        amount,
    )


async def consumed_of_open_lease(connection: Connection, org: int) -> int:
    """What the ledger has taken out of the open leases."""
    return int(
        await connection.fetchval(
            "SELECT coalesce(sum(consumed), 0)::bigint FROM lease WHERE org_id = $1 AND state = 'open'", org
        )
    )
