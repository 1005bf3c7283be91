"""`scripts/stack up --strict`: limits that AWS has, that programs run into there, and that the server leaves out.

docs/LOCAL-AWS.md has what is imitated here and by what. All of it is counted: GET /_fanfold/strict. With PUT a test sets
`{"concurrency": 10, "faults": 0.01}`, or one of the two, while functions run.
"""

import argparse
import json
from collections import Counter

import concurrency
import faults
import limits
import lineage


class Strict:
    def __init__(self, at_once: int, rate: float):
        self.faults = faults.Faults(rate)
        lineage.install()
        limits.install()
        concurrency.install()
        concurrency.allow(at_once)

    def change(self, wanted: dict) -> None:
        if "concurrency" in wanted:
            concurrency.allow(int(wanted["concurrency"]))
        if "faults" in wanted:
            self.faults.rate = float(wanted["faults"])

    def counts(self) -> Counter[str]:
        return lineage.counts | concurrency.counts | limits.counts | faults.counts

    async def told(self, receive) -> Counter[str]:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                self.change(json.loads(body))
                break
        return self.counts()

    async def answers(self, service: str, scope: dict, headers: dict[bytes, bytes], receive, send) -> bool:
        """Whether a request has got its answer already."""
        lineage.remembered(scope, headers)
        if not self.faults.strikes(service, headers):
            return False
        await faults.refuse(service, receive, send)
        return True


def asked_for(given: list[str]) -> Strict | None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--concurrency", type=int, default=1000)
    parser.add_argument("--faults", type=float, default=0.0)
    options = parser.parse_args(given)
    return Strict(options.concurrency, options.faults) if options.strict else None
