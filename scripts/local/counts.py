"""What the functions asked the local AWS for, as it counts."""

import json
import urllib.request
from collections import Counter
from dataclasses import dataclass
from typing import Self

from .server import port
from .settings import endpoint
from .steps import CLIENT

WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem")


@dataclass
class Counts:
    """Requests by service and operation, and how many messages or items those of SQS and DynamoDB held."""

    requests: Counter[str]
    entries: Counter[str]

    @classmethod
    def now(cls) -> Self:
        """Since the local AWS was started."""
        return cls(counted("requests"), counted("entries"))

    def __sub__(self, before: Self) -> Self:
        return Counts(self.requests - before.requests, self.entries - before.entries)

    @property
    def messages(self) -> int:
        return sum(self.entries[f"sqs {name}"] for name in ("SendMessage", "SendMessageBatch"))

    @property
    def writes(self) -> int:
        """Items of the tables that were written."""
        return sum(self.entries[f"dynamodb {name}"] for name in WRITES)


def counted(what: str) -> Counter[str]:
    """Without what a demonstration's own client asked for."""
    with urllib.request.urlopen(f"{endpoint(port())}/_fanfold/{what}") as answer:
        counts = {tuple(name.split(" ", 2)): count for name, count in json.load(answer).items()}
    return Counter({" ".join(rest): count for (client, *rest), count in counts.items() if client != CLIENT})
