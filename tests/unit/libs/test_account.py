"""What is available, and where leased credit lies."""

from libs.contracts.account import Balance, lease_keys


def test_available_is_what_nothing_else_has_a_claim_on() -> None:
    assert Balance(posted=1000, held=100, unposted=20, in_doubt=3, frozen=False).available == 877
    assert Balance(posted=10, held=20, unposted=0, in_doubt=0, frozen=False).available == -10


def test_the_keys_of_an_org_lie_on_one_slot_of_a_cluster() -> None:
    keys = lease_keys(7)
    assert vars_of(keys) == ["to:{7}:lease", "to:{7}:holds", "to:{7}:keys", "to:{7}:ticket"]
    assert not {*vars_of(keys)} & {*vars_of(lease_keys(71))}


def vars_of(keys: object) -> list[str]:
    return [getattr(keys, name) for name in ("lease", "holds", "keys", "ticket")]
