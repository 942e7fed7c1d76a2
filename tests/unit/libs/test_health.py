"""Why a service is not ready."""

from structlog.testing import capture_logs

from libs.runtime.health import Health


def started() -> Health:
    health = Health()
    health.report("start", None)
    return health


def test_a_service_is_not_ready_before_it_started() -> None:
    assert Health().reasons == {"start": "starting"}
    assert started().reasons == {}


def test_reasons_come_and_go_one_by_one() -> None:
    health = started()
    health.report("redis", "away")
    health.report("postgres", "slow")
    health.report("redis", "still away")
    assert health.reasons == {"redis": "still away", "postgres": "slow"}
    health.report("redis", None)
    health.report("redis", None)
    assert health.reasons == {"postgres": "slow"}
    assert health.failure is None


def test_a_failure_stays() -> None:
    health = started()
    health.fail("ship usage has stopped")
    assert (health.failure, health.reasons) == ("ship usage has stopped", {"failure": "ship usage has stopped"})


def test_only_changes_are_logged() -> None:
    health = started()
    with capture_logs() as lines:
        for reason in ("away", "away", None, None):
            health.report("redis", reason)
    assert [line["reason"] for line in lines] == ["away", "ready"]


def test_nobody_changes_the_reasons_from_outside() -> None:
    health = started()
    health.reasons["redis"] = "away"
    assert health.reasons == {}
