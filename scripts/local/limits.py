"""What one invocation may take, hold and say: a part of `scripts/stack up --strict`.

Memory is limited by RLIMIT_DATA, which counts what a process may write to and has of its own, touched or not, and each
process for itself: a program that a worker runs has as much again, where Lambda has one limit for all. A file in /tmp is
limited by RLIMIT_FSIZE, and several together are not. SQS's own limit, 1 MiB a message and a request, the server keeps.
"""

import json
import resource
from collections import Counter

from ministack.core import lambda_runtime
from ministack.core.responses import error_response_json
from ministack.services import eventbridge, lambda_svc

MIB = 1024 * 1024
# Of an invocation that is waited for, each way; and of all events of one request.
MOST_PAYLOAD = 6 * MIB
MOST_EVENTS = 256 * 1024

counts: Counter[str] = Counter()


def bounded(dispatch):
    def dispatched(function: dict, config: dict, event, *rest) -> dict:
        if len(json.dumps(event)) > MOST_PAYLOAD:
            return too_large("RequestTooLargeException", f"the payload of {config['FunctionName']} exceeds 6 MB")
        result = dispatch(function, config, event, *rest)
        if not result.get("error") and len(json.dumps(result.get("body"))) > MOST_PAYLOAD:
            return too_large("Function.ResponseSizeTooLarge", f"the answer of {config['FunctionName']} exceeds 6 MB")
        return result

    return dispatched


def too_large(kind: str, said: str) -> dict:
    counts[kind] += 1
    return {"error": True, "body": {"errorType": kind, "errorMessage": said}, "log": said}


def sized(put):
    """EventBridge that takes no more at once than AWS does."""

    def puts(data: dict, *rest, **named):
        if sum(map(size_of, data.get("Entries", []))) > MOST_EVENTS:
            counts["events refused"] += 1
            said = "Total size of the entries in the request is over the limit."
            return error_response_json("ValidationException", said, 400)
        return put(data, *rest, **named)

    return puts


def size_of(entry: dict) -> int:
    texts = [entry.get(name) or "" for name in ("Source", "DetailType", "Detail")] + (entry.get("Resources") or [])
    return sum(len(text.encode()) for text in texts) + (14 if "Time" in entry else 0)


def confined(spawn):
    """A function's process, whose memory and files are limited once it waits for its first event."""

    def spawned(worker, *arguments, **named) -> None:
        spawn(worker, *arguments, **named)
        limit(worker._proc.pid, resource.RLIMIT_DATA, worker.config.get("MemorySize", 128) * MIB)
        storage = worker.config.get("EphemeralStorage", {}).get("Size", 512)
        limit(worker._proc.pid, resource.RLIMIT_FSIZE, storage * MIB)

    return spawned


def limit(pid: int, what: int, most: int) -> None:
    resource.prlimit(pid, what, (most, most))


def install() -> None:
    lambda_svc._execute_function_dispatch = bounded(lambda_svc._execute_function_dispatch)
    eventbridge._put_events = sized(eventbridge._put_events)
    lambda_runtime.ProvidedWorker._spawn = confined(lambda_runtime.ProvidedWorker._spawn)
