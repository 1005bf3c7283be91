"""An account's limit of functions at once, as AWS documents what comes of it: a part of `scripts/stack up --strict`.

A batch of messages whose invocation is throttled stays in the hands of its reader, which tries again, more and more
slowly, until the visibility timeout is over; then the messages are visible again, and have been received once more. The
server itself tries once. How slowly AWS tries, and how it shares what is free among functions, it does not say.
"""

import random
import time
from collections import Counter
from contextvars import ContextVar

from ministack.services import lambda_svc

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0

counts: Counter[str] = Counter()
# Until when the invocation of a batch is tried; none of what is invoked otherwise, which is told at once.
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def held(run):
    """The reader of a queue that keeps a batch as long as its messages are hidden."""

    def ran(esm: dict, function: dict, event: dict, batch: list, *rest) -> None:
        token = deadline.set(min(message["visible_at"] for message in batch))
        try:
            run(esm, function, event, batch, *rest)
        finally:
            deadline.reset(token)

    return ran


def tried_again(acquire):
    def acquired(function: dict, config: dict):
        name, wait = config.get("FunctionName", "?"), FIRST_WAIT_S
        while True:
            slot, limit = acquire(function, config)
            if slot is not None:
                return slot, limit
            counts[f"throttled {name}"] += 1
            until = deadline.get()
            if until is None:
                return slot, limit
            if time.time() + wait > until:
                counts[f"given back {name}"] += 1
                return slot, limit
            time.sleep(random.uniform(wait / 2, wait))
            wait = min(2 * wait, LONGEST_WAIT_S)

    return acquired


def named(throttle):
    """The answer by which a state machine, too, knows that it was throttled."""

    def answered(*arguments, **named_ones) -> dict:
        answer = throttle(*arguments, **named_ones)
        answer["body"]["errorType"] = "Lambda.TooManyRequestsException"
        return answer

    return answered


def allow(at_once: int) -> None:
    lambda_svc._ACCOUNT_CONCURRENCY_CAP = at_once


def install() -> None:
    lambda_svc._run_sqs_batch = held(lambda_svc._run_sqs_batch)
    lambda_svc._acquire_execution_slot = tried_again(lambda_svc._acquire_execution_slot)
    lambda_svc._throttle_response = named(lambda_svc._throttle_response)
