"""Three stages over 1,000 indexes, or as many as are asked for: compared with one pass, and who began when."""

import json
import statistics
from datetime import datetime
from pathlib import Path

from .. import counts
from ..settings import SERVER_LOG, fail
from ..steps import Example

STAGES = ("generate", "compute", "report")
INDEXES = 1000
# Indexes that are shown, by where they stand.
SHOWN = (0, 0.001, 0.25, 0.5, 0.75, 1)
# As the document says.
IDS_AN_INDEX = 40
WIDTH = 60
# Of fewer indexes all of a stage may begin before the first of them is done.
TELLING = 100
# What an index may cost in each stage.
MOST_MESSAGES = 3
MOST_WRITES = 0.2


def show(example: Example, count: int | None) -> None:
    indexes = count or INDEXES
    example.document = of_as_many(example, indexes)
    example.apply()
    before = counts.Counts.now()
    shown, seconds = example.run("n-to-n")
    asked = counts.Counts.now() - before
    example.compare(shown)
    stages = begun(shown["run"]["id"], indexes)
    print_trace(stages)
    check(stages)
    chunks = indexes * len(STAGES)
    print(f"   {chunks} chunks of {len(STAGES)} stages in {seconds:.1f} s")
    check_counts(asked.messages / chunks, asked.writes / chunks, indexes)
    print(f"   an index and stage: {asked.messages / chunks:.2f} messages, {asked.writes / chunks:.3f} table writes, "
          f"{asked.requests.total() / chunks:.2f} requests by the functions")


def check_counts(messages: float, writes: float, indexes: int) -> None:
    """Of a run of few indexes they tell little: few are in each batch of completions, and others' count more."""
    if indexes < INDEXES:
        return
    if messages > MOST_MESSAGES:
        fail(f"{messages:.2f} messages an index and stage, and {MOST_MESSAGES} are enough")
    if writes > MOST_WRITES:
        fail(f"{writes:.3f} table writes an index and stage, and {MOST_WRITES} are enough")


def of_as_many(example: Example, indexes: int) -> Path:
    """The document with another number of ids."""
    if indexes == INDEXES:
        return example.document
    text, ids = example.document.read_text(), f"count: {INDEXES * IDS_AN_INDEX} "
    if ids not in text:
        fail(f"{example.document} has no `{ids}`")
    document = example.work / example.document.name
    document.write_text(text.replace(ids, f"count: {indexes * IDS_AN_INDEX} "))
    return document


def begun(run: str, indexes: int) -> dict[str, list[float]]:
    """When each index of each stage first began, in seconds since the first of all."""
    found: dict[str, dict[int, float]] = {stage: {} for stage in STAGES}
    for line in SERVER_LOG.read_text(errors="replace").splitlines():
        if run not in line or "command stderr" not in line:
            continue
        entry = json.loads(line)
        _, stage, chunk = entry["line"].split()
        at = datetime.fromisoformat(entry["timestamp"]).timestamp()
        # A chunk may be begun more than once.
        found[stage][int(chunk)] = min(at, found[stage].get(int(chunk), at))
    for stage, chunks in found.items():
        if len(chunks) != indexes:
            fail(f"the log tells of {len(chunks)} chunks of {stage}, and there are {indexes}")
    first = min(min(chunks.values()) for chunks in found.values())
    return {stage: [chunks[index] - first for index in range(indexes)] for stage, chunks in found.items()}


def print_trace(stages: dict[str, list[float]]) -> None:
    print("-- trace: seconds until an index began")
    print(f"   {'index':>8}" + "".join(f"{stage:>10}" for stage in STAGES))
    last_index = len(stages[STAGES[0]]) - 1
    for index in dict.fromkeys(round(place * last_index) for place in SHOWN):
        print(f"   {index:>8}" + "".join(f"{stages[stage][index]:>10.2f}" for stage in STAGES))
    last = max(max(times) for times in stages.values()) or 1.0
    for stage, times in stages.items():
        filled = {min(int(at / last * WIDTH), WIDTH - 1) for at in times}
        print(f"   {stage:>8} |{''.join('#' if column in filled else ' ' for column in range(WIDTH))}|")
    for before, after in zip(STAGES, STAGES[1:]):
        behind = [later - earlier for earlier, later in zip(stages[before], stages[after])]
        print(f"   {after} of an index behind {before} of it: {statistics.median(behind):.2f} s (median), "
              f"{max(behind):.2f} s at most")


def check(stages: dict[str, list[float]]) -> None:
    """None before what it reads, and those of a stage before all of the stage before are done."""
    indexes = len(stages[STAGES[0]])
    for before, after in zip(STAGES, STAGES[1:]):
        early = [index for index in range(indexes) if stages[after][index] < stages[before][index]]
        if early:
            fail(f"index {early[0]} of {after} began before that of {before}")
        last = max(stages[before])
        ahead = sum(at < last for at in stages[after])
        if ahead < indexes // 2 and indexes >= TELLING:
            fail(f"{ahead} of {indexes} indexes of {after} began before the last of {before}: they wait for the stage")
        print(f"   {ahead} of {indexes} indexes of {after} began before the last of {before}")
