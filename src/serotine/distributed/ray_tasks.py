"""Tasks on a Ray cluster: their results as they come, and what is said of a task that is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from serotine.errors import SerotineError

Order = TypeVar("Order")
Result = TypeVar("Result")

# Times that a task is run again after its process or machine has died.
_RETRIES = 5


def run_tasks(
    ray: Any,
    function: Callable[[Order], Result],
    orders: Sequence[Order],
    *,
    resources: Mapping[str, float],
    lost: Callable[[Order], tuple[str, str]],
) -> Iterator[tuple[Order, Result]]:
    """Run a function on the cluster, once for each order; yield orders with their results, as they come.

    Where the iteration ends early, with an error or by its caller, the tasks that are left are cancelled.

    Args:
        ray: the module, connected.
        function: what a task runs; it may run again after its process has died.
        orders: its arguments.
        resources: what one task needs, as Ray names it: ``{"num_cpus": 1}``.
        lost: returns how to name an order whose process died too often, and what to do.

    Raises:
        SerotineError: a task was lost too often.
        Exception: what the function raised.
    """
    task = ray.remote(function).options(max_retries=_RETRIES, scheduling_strategy="SPREAD", **resources)
    pending = {task.remote(order): order for order in orders}
    try:
        while pending:
            (reference,), _ = ray.wait(list(pending), num_returns=1)
            order = pending.pop(reference)
            try:
                result = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                name, fix = lost(order)
                died = f"its process or machine died {_RETRIES + 1} times ({type(error).__name__})"
                raise SerotineError(f"{name}: {died}; {fix}") from error
            yield order, result
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)
