"""Three stages over 1,000 indexes: compared with one pass, and who began when."""

import json
import statistics
from datetime import datetime

from ..settings import SERVER_LOG, fail
from ..steps import Example

STAGES = ("generate", "compute", "report")
# Indexes that are shown, of a thousand.
SHOWN = (0, 1, 250, 500, 750, 999)
CHUNKS = 1000
WIDTH = 60


def show(example: Example, _count: None) -> None:
    example.apply()
    shown, seconds = example.run("n-to-n")
    example.compare(shown)
    stages = begun(shown["run"]["id"])
    print_trace(stages)
    check(stages)
    print(f"   {CHUNKS * len(STAGES)} chunks of {len(STAGES)} stages in {seconds:.1f} s")


def begun(run: str) -> dict[str, list[float]]:
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
        if len(chunks) != CHUNKS:
            fail(f"the log tells of {len(chunks)} chunks of {stage}, and there are {CHUNKS}")
    first = min(min(chunks.values()) for chunks in found.values())
    return {stage: [chunks[index] - first for index in range(CHUNKS)] for stage, chunks in found.items()}


def print_trace(stages: dict[str, list[float]]) -> None:
    print("-- trace: seconds until an index began")
    print(f"   {'index':>8}" + "".join(f"{stage:>10}" for stage in STAGES))
    for index in SHOWN:
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
    for before, after in zip(STAGES, STAGES[1:]):
        early = [index for index in range(CHUNKS) if stages[after][index] < stages[before][index]]
        if early:
            fail(f"index {early[0]} of {after} began before that of {before}")
        last = max(stages[before])
        ahead = sum(at < last for at in stages[after])
        if ahead < CHUNKS // 2:
            fail(f"{ahead} of {CHUNKS} indexes of {after} began before the last of {before}: they wait for the stage")
        print(f"   {ahead} of {CHUNKS} indexes of {after} began before the last of {before}")
