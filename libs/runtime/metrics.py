"""Metrics of one service, in a registry of its own so that several services can share a process.

Labels never hold an org, a key or a request: a scanner or a busy customer must not be able to grow a series.
"""

from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """What every service counts; a service adds its own to ``registry``."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tokenoutput_http_requests_total",
            "Requests answered.",
            ["service", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tokenoutput_http_request_seconds",
            "From the request's head to the end of its answer.",
            ["service", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "tokenoutput_http_in_flight", "Requests being answered.", ["service"], registry=self.registry
        )
        self.service = service

    def count(self, request: web.Request, status: int, seconds: float) -> None:
        route = route_of(request)
        self.requests.labels(self.service, route, str(status)).inc()
        self.seconds.labels(self.service, route).observe(seconds)


METRICS: Final = web.AppKey("metrics", Metrics)


def route_of(request: web.Request) -> str:
    """The route's template, or ``other`` for an address that no route has."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "other"
