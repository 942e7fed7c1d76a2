"""The books, read to be recomputed. Every query answers nothing when all is well."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import msgspec

from libs.runtime.postgres import Connection


class ChargeRow(msgspec.Struct, frozen=True):
    """What a charge's cost is recomputed from."""

    request_id: UUID
    price_id: str
    started_at: int
    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    reasoning: int
    cost: int
    cash: int
    plan: int
    absorbed: int
    held: int


async def first_wrong_balance(connection: Connection) -> asyncpg.Record | None:
    return await connection.fetchrow(
        """
        SELECT a.account_id, a.kind, b.debits, b.credits,
            coalesce(d.amount, 0) AS true_debits, coalesce(c.amount, 0) AS true_credits
        FROM account a LEFT JOIN balance b USING (account_id)
        LEFT JOIN (SELECT debit_id AS account_id, sum(amount) AS amount FROM transfer GROUP BY 1) d USING (account_id)
        LEFT JOIN (SELECT credit_id AS account_id, sum(amount) AS amount FROM transfer GROUP BY 1) c USING (account_id)
        WHERE b.debits IS DISTINCT FROM coalesce(d.amount, 0) OR b.credits IS DISTINCT FROM coalesce(c.amount, 0)
        ORDER BY a.account_id LIMIT 1
        """
    )


async def prices(connection: Connection) -> list[tuple[str, str]]:
    rows = await connection.fetch("SELECT price_id, content FROM price_version ORDER BY price_id")
    return [(row["price_id"], row["content"]) for row in rows]


async def all_charges(connection: Connection) -> AsyncIterator[ChargeRow]:
    """In order of id, through a cursor: a year of them does not fit into memory."""
    query = """
        SELECT request_id, price_id, started_at, tok_input, tok_cache_read, tok_cache_write, tok_cache_write_1h,
            tok_output, tok_reasoning, cost, cash, plan, absorbed, held
        FROM charge ORDER BY request_id
    """
    async for row in connection.cursor(query, prefetch=2000):
        yield ChargeRow(*row)


async def first_wrong_batch(connection: Connection) -> asyncpg.Record | None:
    """Charges and transfers of every batch by key, payer and amount; and no usage goes anywhere but to revenue."""
    return await connection.fetchrow(
        """
        WITH charged AS (
            SELECT 'usage:' || batch_id || ':' || a.account_id AS idem_key, a.account_id AS payer, sum(c.cash) AS amount
            FROM charge c JOIN account a ON a.kind = 'cust_cash' AND a.org_id = c.org_id
            GROUP BY batch_id, a.account_id HAVING sum(c.cash) > 0
            UNION ALL
            SELECT 'absorbed:' || batch_id, (SELECT account_id FROM account WHERE kind = 'overrun_loss'), sum(absorbed)
            FROM charge GROUP BY batch_id HAVING sum(absorbed) > 0
        ), transferred AS (
            SELECT t.idem_key, t.debit_id AS payer, t.amount, a.kind AS payee
            FROM transfer t JOIN account a ON a.account_id = t.credit_id WHERE t.kind IN ('usage', 'absorbed')
        )
        SELECT idem_key, coalesce(c.amount, 0) AS charged, coalesce(t.amount, 0) AS transferred,
            c.payer AS charged_to, t.payer AS taken_from, t.payee
        FROM charged c FULL JOIN transferred t USING (idem_key)
        WHERE c.amount IS DISTINCT FROM t.amount OR c.payer IS DISTINCT FROM t.payer OR t.payee <> 'revenue'
        ORDER BY idem_key LIMIT 1
        """
    )


async def first_overdrawn(connection: Connection) -> asyncpg.Record | None:
    return await connection.fetchrow(
        """
        SELECT a.org_id, b.credits - b.debits AS posted, b.leased FROM account a JOIN balance b USING (account_id)
        WHERE a.kind = 'cust_cash' AND b.credits - b.debits < b.leased AND NOT b.frozen ORDER BY a.org_id LIMIT 1
        """
    )


async def first_wrong_lease(connection: Connection) -> asyncpg.Record | None:
    return await connection.fetchrow(
        """
        SELECT org_id, epoch, coalesce(l.consumed, 0) AS consumed, coalesce(c.amount, 0) AS charged
        FROM lease l
        FULL JOIN (
            SELECT org_id, lease_epoch AS epoch, sum(cash) AS amount FROM charge GROUP BY 1, 2 HAVING sum(cash) > 0
        ) c USING (org_id, epoch)
        WHERE coalesce(l.consumed, 0) <> coalesce(c.amount, 0) ORDER BY org_id, epoch LIMIT 1
        """
    )


async def first_wrong_leased(connection: Connection) -> asyncpg.Record | None:
    return await connection.fetchrow(
        """
        SELECT a.org_id, b.leased, coalesce(l.amount, 0) AS outstanding
        FROM account a JOIN balance b USING (account_id)
        LEFT JOIN (
            SELECT org_id, sum(granted - consumed) AS amount FROM lease WHERE state <> 'closed' GROUP BY 1
        ) l USING (org_id)
        WHERE a.kind = 'cust_cash' AND b.leased <> coalesce(l.amount, 0) ORDER BY a.org_id LIMIT 1
        """
    )
