"""Orders mapped by `ray.data` on a Ray cluster: their results as they come, and what is said of one that is lost."""

from __future__ import annotations

import importlib.util
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from serotine.distributed.ray_library import ended_because
from serotine.errors import SerotineError, missing_extra, reason

Order = TypeVar("Order")
Result = TypeVar("Result")
Function = Callable[[Order], Result]

# Times that an order is begun, where its process or machine dies each time.
_ATTEMPTS = 6
# Workers that report to the coordinator at the same time, beside the mapping itself.
_REPORTS = 8


class Pipelines:
    """Runs `ray.data` in a process of the cluster, the coordinator, and hands over what comes out.

    There its log and its progress bars are in Ray's log files, this process imports neither pandas nor pyarrow, and
    with the coordinator ends everything that it has begun, which `ray.data` alone would let run to its end.

    Args:
        ray: the module, connected.

    Raises:
        SerotineError: what `ray.data` needs is not installed.
    """

    def __init__(self, ray: Any) -> None:
        if any(importlib.util.find_spec(name) is None for name in ("pandas", "pyarrow")):
            raise SerotineError(missing_extra("serotine.distributed.build", "ray"))
        self._ray = ray
        self._coordinator: Any = None

    def __enter__(self) -> Self:
        """Begin to start the coordinator, which takes a second or two."""
        self._started()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End what runs."""
        self._end()

    def map(
        self,
        function: Function[Order, Result] | type[Function[Order, Result]],
        orders: Sequence[Order],
        *,
        resources: Mapping[str, float],
        lost: Callable[[Order], tuple[str, str]],
    ) -> Iterator[tuple[Order, Result]]:
        """Run a function on the cluster, once for each order; yield orders with their results, as they come.

        Where the iteration ends early, with an error or by its caller, what still runs is ended.

        Args:
            function: what a task runs; or a class without arguments whose objects are functions, of which every actor
                of a pool has one. An order may be begun again after its process has died.
            orders: its arguments.
            resources: what a task or an actor needs, as Ray names it: ``{"num_cpus": 1}``.
            lost: returns how to name an order whose process died too often, and what to do.

        Raises:
            SerotineError: an order was lost too often.
            Exception: what the function raised.
        """
        waiting = dict(enumerate(orders))
        if not orders:
            return
        rows = [{"number": number, "content": pickle.dumps(order)} for number, order in waiting.items()]
        answers = self._started().map.options(num_returns="streaming").remote(function, rows, resources)
        try:
            for reference in answers:
                number, attempts, content = self._ray.get(reference)
                order = waiting.pop(number)
                if attempts > _ATTEMPTS:
                    name, fix = lost(order)
                    raise SerotineError(f"{name}: its process or machine died {_ATTEMPTS} times; {fix}")
                result = pickle.loads(content)  # noqa: S301 - our own
                if isinstance(result, _Failure):
                    raise result.error
                yield order, result
        except self._ray.exceptions.RayTaskError as error:
            raise SerotineError(
                f"ray.data: {reason(error.cause)}; install the same software on every machine"
            ) from error
        except self._ray.exceptions.RayError as error:
            raise SerotineError(f"ray.data: {ended_because(error)}; run the same again") from error
        finally:
            if waiting:
                self._end()

    def _started(self) -> Any:
        if self._coordinator is None:
            here = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                self._ray.get_runtime_context().get_node_id(), soft=False
            )
            remote = self._ray.remote(_Coordinator)
            self._coordinator = remote.options(
                num_cpus=0, max_concurrency=1 + _REPORTS, scheduling_strategy=here
            ).remote()
        return self._coordinator

    def _end(self) -> None:
        if self._coordinator is not None:
            self._ray.kill(self._coordinator)
            self._coordinator = None


class _Coordinator:
    """What runs in the coordinator's process: a pipeline, and beside it the count of the orders that were begun."""

    def __init__(self) -> None:
        import ray.data

        self._attempts: Counter[int] = Counter()
        context: Any = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # An order may take hours; by default, Ray ends a pipeline after half an hour without a result.
        context.execution_no_progress_timeout_s = -1
        # Where more machines join, actors start on them while any order waits.
        context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0

    def begin(self, number: int) -> int:
        """Return how often an order was begun, this time included."""
        self._attempts[number] += 1
        return self._attempts[number]

    def map(
        self, function: Any, rows: Sequence[Mapping[str, Any]], resources: Mapping[str, float]
    ) -> Iterator[tuple[int, int, bytes]]:
        """Yield number, attempts and pickled result of every row, as they come."""
        import ray

        self._attempts.clear()
        has: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]
        coordinator = ray.get_runtime_context().current_actor
        orders: Any = ray.data.from_items(list(rows), override_num_blocks=len(rows))
        if isinstance(function, type):
            pool = ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=len(rows),
                initial_size=_at_once(has, resources, len(rows)),
                # What waits behind a long order could be at work in another actor.
                max_tasks_in_flight_per_actor=1,
            )
            answers = orders.map(_Worker, fn_constructor_args=(function, coordinator), compute=pool, **resources)
        else:
            worker = _Worker(lambda: function, coordinator)
            answers = orders.map(lambda row: worker(row), **resources)
        # With any looking ahead, a result waits for the next one.
        for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for answer in batch.to_pylist():
                yield answer["number"], answer["attempts"], answer["content"]


class _Worker:
    """What `ray.data` calls with a row; orders and results are pickled, as Arrow has no type for them."""

    def __init__(self, start: Callable[[], Function[Any, Any]], coordinator: Any) -> None:
        self._function = start()
        self._coordinator = coordinator

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        import ray

        # Ray begins what was lost again without an end; its own limit is an argument that it is about to remove.
        attempts = ray.get(self._coordinator.begin.remote(row["number"]))
        content = b"" if attempts > _ATTEMPTS else self._answer(row["content"])
        return {"number": row["number"], "attempts": attempts, "content": content}

    def _answer(self, order: bytes) -> bytes:
        try:
            return pickle.dumps(self._function(pickle.loads(order)))  # noqa: S301 - our own
        # Ray's form of an error that a task raises has its text, and often not its class.
        except Exception as error:
            return _Failure(error).pickled()


class _Failure:
    """What a function raised instead of a result."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def pickled(self) -> bytes:
        try:
            content = pickle.dumps(self)
            pickle.loads(content)  # noqa: S301 - our own
        except Exception:
            # Of a class that cannot be sent: what it says.
            return pickle.dumps(_Failure(SerotineError(f"{type(self.error).__name__}: {reason(self.error)}")))
        return content


def _at_once(has: Mapping[str, float], resources: Mapping[str, float], orders: int) -> int:
    """Return how many actors the cluster has room for, at least one."""
    total = {"num_cpus": has.get("CPU", 0.0), "num_gpus": has.get("GPU", 0.0)}
    return max(1, min(orders, *(int(total[name] // count) for name, count in resources.items())))
