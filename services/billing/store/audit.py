"""The books, questioned. Every question is answered with the first row that is wrong, or not at all when all is well.

Sums are made by PostgreSQL, which spills to disk what does not fit into its memory; rows come through cursors.
"""

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Final, NamedTuple

import asyncpg

from libs.runtime.postgres import Connection


class Question(NamedTuple):
    """``query`` finds what is wrong; ``sentence`` says it, with the columns of the row that was found."""

    query: str
    sentence: str


async def ask(connection: Connection, question: Question, *arguments: object) -> str | None:
    """What is wrong, in words."""
    row = await connection.fetchrow(question.query, *arguments)
    return None if row is None else question.sentence.format_map({name: _plain(value) for name, value in row.items()})


def _plain(value: object) -> object:
    """Sums come as NUMERIC, which would be written as 1.000E+11."""
    return int(value) if isinstance(value, Decimal) else value


BALANCES: Final = Question(
    """
    SELECT a.account_id, a.kind, b.debits, b.credits,
        coalesce(d.amount, 0) AS true_debits, coalesce(c.amount, 0) AS true_credits
    FROM account a LEFT JOIN balance b USING (account_id)
    LEFT JOIN (SELECT debit_id AS account_id, sum(amount) AS amount FROM transfer GROUP BY 1) d USING (account_id)
    LEFT JOIN (SELECT credit_id AS account_id, sum(amount) AS amount FROM transfer GROUP BY 1) c USING (account_id)
    WHERE b.debits IS DISTINCT FROM coalesce(d.amount, 0) OR b.credits IS DISTINCT FROM coalesce(c.amount, 0)
    ORDER BY a.account_id LIMIT 1
    """,
    "account {account_id} ({kind}): balance says debits {debits} credits {credits}, "
    "its transfers come to {true_debits} and {true_credits}",
)

BALANCED: Final = Question(
    "SELECT sum(debits) AS debits, sum(credits) AS credits FROM balance HAVING sum(debits) <> sum(credits)",
    "all accounts together: debits {debits}, credits {credits}",
)

# What came from outside is every transfer of a customer's account that is not usage.
OUTSIDE: Final = """SELECT credit_id AS account_id, amount FROM transfer WHERE kind <> 'usage'
UNION ALL SELECT debit_id, -amount FROM transfer WHERE kind <> 'usage'"""

CONSERVED: Final = Question(
    f"""
    WITH outside AS (
        SELECT account_id, sum(amount) AS amount FROM (
            {OUTSIDE}
        ) moved GROUP BY 1
    ), charged AS (SELECT org_id, sum(cash) AS cash, sum(plan) AS plan FROM charge GROUP BY 1)
    SELECT org_id, substr(a.kind, 6) AS bucket, coalesce(b.credits - b.debits, 0) AS posted,
        coalesce(o.amount, 0) AS came, coalesce(CASE a.kind WHEN 'cust_cash' THEN c.cash ELSE c.plan END, 0) AS charged
    FROM account a LEFT JOIN balance b USING (account_id) LEFT JOIN outside o USING (account_id)
    LEFT JOIN charged c USING (org_id)
    WHERE a.org_id IS NOT NULL AND coalesce(b.credits - b.debits, 0)
        <> coalesce(o.amount, 0) - coalesce(CASE a.kind WHEN 'cust_cash' THEN c.cash ELSE c.plan END, 0)
    ORDER BY org_id, a.kind LIMIT 1
    """,  # noqa: S608 - a constant
    "org {org_id}, {bucket}: {posted} posted, but {came} came from outside and {charged} was charged",
)

# Charges of an org without the account that they were taken from are not seen by CONSERVED.
HOMELESS: Final = Question(
    """
    SELECT org_id, sum(cash) AS cash, sum(plan) AS plan FROM charge c GROUP BY org_id
    HAVING sum(cash) > 0 AND NOT EXISTS (SELECT FROM account a WHERE a.org_id = c.org_id AND a.kind = 'cust_cash')
        OR sum(plan) > 0 AND NOT EXISTS (SELECT FROM account a WHERE a.org_id = c.org_id AND a.kind = 'cust_plan')
    ORDER BY org_id LIMIT 1
    """,
    "org {org_id}: charged {cash} cash and {plan} plan, and it has no such account",
)

# By key, payer and amount; and no usage goes anywhere but to revenue.
BATCHES: Final = Question(
    """
    WITH batch AS (
        SELECT batch_id, org_id, sum(cash) AS cash, sum(plan) AS plan, sum(absorbed) AS absorbed
        FROM charge GROUP BY 1, 2
    ), charged AS (
        SELECT 'usage:' || batch_id || ':' || a.account_id AS idem_key, a.account_id AS payer, b.amount
        FROM (
            SELECT batch_id, org_id, 'cust_cash' AS kind, cash AS amount FROM batch
            UNION ALL SELECT batch_id, org_id, 'cust_plan', plan FROM batch
        ) b JOIN account a USING (org_id, kind) WHERE b.amount > 0
        UNION ALL
        SELECT 'absorbed:' || batch_id, (SELECT account_id FROM account WHERE kind = 'overrun_loss'), sum(absorbed)
        FROM batch GROUP BY batch_id HAVING sum(absorbed) > 0
    ), transferred AS (
        SELECT t.idem_key, t.debit_id AS payer, t.amount, a.kind AS payee
        FROM transfer t JOIN account a ON a.account_id = t.credit_id WHERE t.kind IN ('usage', 'absorbed')
    )
    SELECT idem_key, coalesce(c.amount, 0) AS charged, coalesce(t.amount, 0) AS transferred,
        c.payer AS charged_to, t.payer AS taken_from, t.payee
    FROM charged c FULL JOIN transferred t USING (idem_key)
    WHERE c.amount IS DISTINCT FROM t.amount OR c.payer IS DISTINCT FROM t.payer OR t.payee <> 'revenue'
    ORDER BY idem_key LIMIT 1
    """,
    "{idem_key}: its charges come to {charged} of account {charged_to}, "
    "its transfer to {transferred} from {taken_from} to {payee}",
)

OVERDRAWN: Final = Question(
    """
    SELECT a.org_id, substr(a.kind, 6) AS bucket, b.credits - b.debits AS posted, b.leased
    FROM account a JOIN balance b USING (account_id)
    WHERE a.org_id IS NOT NULL AND b.credits - b.debits < b.leased AND NOT b.frozen
    ORDER BY a.org_id, a.kind LIMIT 1
    """,
    "org {org_id}, {bucket}: {posted} posted, {leased} leased",
)

LEASES: Final = Question(
    """
    SELECT org_id, epoch, coalesce(l.consumed, 0) AS cash, coalesce(l.plan_consumed, 0) AS plan,
        coalesce(c.cash, 0) AS charged_cash, coalesce(c.plan, 0) AS charged_plan
    FROM lease l FULL JOIN (
        SELECT org_id, lease_epoch AS epoch, sum(cash) AS cash, sum(plan) AS plan
        FROM charge GROUP BY 1, 2 HAVING sum(cash + plan) > 0
    ) c USING (org_id, epoch)
    WHERE coalesce(l.consumed, 0) <> coalesce(c.cash, 0) OR coalesce(l.plan_consumed, 0) <> coalesce(c.plan, 0)
    ORDER BY org_id, epoch LIMIT 1
    """,
    "org {org_id} epoch {epoch}: {cash} cash and {plan} plan consumed, "
    "its charges come to {charged_cash} and {charged_plan}",
)

KEY_SPEND: Final = Question(
    """
    SELECT org_id, key_id, epoch, coalesce(s.nano, 0) AS nano, coalesce(c.nano, 0) AS charged
    FROM key_spend s FULL JOIN (
        SELECT org_id, key_id, lease_epoch AS epoch, sum(cash + plan) AS nano
        FROM charge GROUP BY 1, 2, 3 HAVING sum(cash + plan) > 0
    ) c USING (org_id, key_id, epoch)
    WHERE coalesce(s.nano, 0) <> coalesce(c.nano, 0) ORDER BY org_id, key_id, epoch LIMIT 1
    """,
    "org {org_id} key {key_id} epoch {epoch}: {nano} spent, its charges come to {charged}",
)

LEASED: Final = Question(
    """
    WITH outstanding AS (
        SELECT org_id, sum(granted - consumed) AS cash, sum(plan_granted - plan_consumed) AS plan
        FROM lease WHERE state <> 'closed' GROUP BY 1
    ), expected AS (
        SELECT org_id, 'cust_cash' AS kind, cash AS amount FROM outstanding
        UNION ALL SELECT org_id, 'cust_plan', plan FROM outstanding
    ), said AS (
        SELECT a.org_id, a.kind, b.leased FROM account a JOIN balance b USING (account_id)
        WHERE a.org_id IS NOT NULL OR b.leased <> 0
    )
    SELECT org_id, kind, coalesce(leased, 0) AS leased, coalesce(amount, 0) AS amount
    FROM said FULL JOIN expected USING (org_id, kind)
    WHERE coalesce(leased, 0) <> coalesce(amount, 0) ORDER BY org_id, kind LIMIT 1
    """,
    "org {org_id}, {kind}: {leased} leased, its leases come to {amount}",
)

KEYS: Final = Question(
    "SELECT idem_key, count(*) AS times FROM transfer GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1",
    "{idem_key} was posted {times} times",
)

# $1, $2, $3: each kind of transfer that there is, the pattern of its key, in which {debit} stands for the account that
# is debited, and the pattern of the accounts that it goes between.
KINDS: Final = Question(
    """
    SELECT t.transfer_id, t.kind, t.idem_key, d.kind AS debit, c.kind AS credit
    FROM transfer t JOIN account d ON d.account_id = t.debit_id JOIN account c ON c.account_id = t.credit_id
    WHERE NOT EXISTS (
        SELECT FROM unnest($1::text[], $2::text[], $3::text[]) AS known (kind, key, accounts)
        WHERE known.kind = t.kind AND t.idem_key ~ replace(known.key, '{debit}', t.debit_id::text)
            AND d.kind || '>' || c.kind ~ known.accounts
    ) ORDER BY t.transfer_id LIMIT 1
    """,
    "transfer {transfer_id}: no {kind} has the key {idem_key} and goes from {debit} to {credit}",
)

DOUBT: Final = Question(
    "SELECT org_id, epoch, doubt_at FROM lease WHERE state = 'doubt' ORDER BY org_id, epoch LIMIT 1",
    "org {org_id} epoch {epoch}: in doubt since {doubt_at:%Y-%m-%d %H:%M:%S}Z",
)

CREDITED: Final = Question(
    f"""
    WITH booked AS (
        SELECT org_id, sum(amount) AS amount FROM (
            {OUTSIDE}
        ) moved JOIN account USING (account_id) WHERE org_id IS NOT NULL GROUP BY 1
    ), told AS (SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS t (org_id, amount))
    SELECT org_id, coalesce(b.amount, 0) AS booked, coalesce(t.amount, 0) AS told
    FROM booked b FULL JOIN told t USING (org_id)
    WHERE coalesce(b.amount, 0) <> coalesce(t.amount, 0) ORDER BY org_id LIMIT 1
    """,  # noqa: S608 - a constant
    "org {org_id}: {booked} came from outside by the books, {told} by who gave it",
)


async def leased_here(connection: Connection, shard: str) -> AsyncIterator[asyncpg.Record]:
    """Per org, its newest lease in that Redis."""
    query = """
        SELECT DISTINCT ON (org_id) org_id, epoch, state, granted, consumed, plan_granted, plan_consumed
        FROM lease WHERE shard = $1 ORDER BY org_id, epoch DESC
    """
    async for row in connection.cursor(query, shard, prefetch=500):
        yield row


async def told(connection: Connection, credited: Mapping[int, int]) -> str | None:
    return await ask(connection, CREDITED, list(credited), list(credited.values()))
