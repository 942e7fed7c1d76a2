"""The three private servers of a stack, started and stopped side by side."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from deploy.local import packages, processes
from deploy.local.errors import StackError
from deploy.local.part import Part
from deploy.local.ports import HOST, is_free
from deploy.local.postgres import Postgres
from deploy.local.progress import Progress
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.redis import Redis
from deploy.local.stack import Stack, remember_base, remembered_base


def servers(stack: Stack) -> list[Part]:
    return [Postgres(stack), Redis(stack), RabbitMQ(stack)]


def start(stack: Stack, parts: Sequence[Part], progress: Progress) -> None:
    """Starts those that do not run, together, and those again that run from something older. When one fails the others
    are left as they are."""
    resting = [part for part in parts if processes.running(part.record) is None]
    if len(resting) < len(parts):
        _refuse_other_base(stack)
    older = [part for part in parts if part not in resting and not part.current]
    stop(older, progress)
    resting += older
    if not resting:
        return
    refuse_taken_ports(resting)
    remember_base(stack)
    packages.ensure(stack.packages_dir, progress)

    def start_one(part: Part) -> None:
        with progress.step(f"{part.title} on {HOST}:{next(iter(part.ports.values()))}"):
            part.start()

    side_by_side(start_one, resting)


def stop(parts: Iterable[Part], progress: Progress) -> None:
    """Stops those that run, together."""

    def stop_one(part: Part) -> None:
        if processes.running(part.record) is None:
            part.stop()
            return
        with progress.step(f"{part.title} stopped"):
            part.stop()

    side_by_side(stop_one, list(parts))


def refuse_taken_ports(parts: Iterable[Part]) -> None:
    """Raises StackError when a part that does not run would meet another program on one of its ports."""
    for part in parts:
        for title, port in part.ports.items():
            if not is_free(port):
                raise StackError(
                    f"Port {port} ({title}) is taken by another program: stop that one, or choose other ports, "
                    "for example TOKENOUTPUT_PORT_BASE=25700 make up."
                )


def _refuse_other_base(stack: Stack) -> None:
    base = remembered_base(stack.run_dir)
    if base is not None and base != str(stack.ports.base):
        raise StackError(f"{stack.run_dir} runs on ports from {base} on: `make down` first, or leave the base away.")


def side_by_side(work: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """Does the work for every part at once; raises the first failure when all have ended."""
    with ThreadPoolExecutor(max_workers=len(parts) or 1) as threads:
        results = [threads.submit(work, part) for part in parts]
    for result in results:
        result.result()
