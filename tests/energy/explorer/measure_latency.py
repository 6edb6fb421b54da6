"""``python -m tests.energy.explorer.measure_latency``: how long a redraw takes, over 50 random changes of one control.

A redraw is a request over HTTP: simulation, figures, templates. Processor time is that of server and client meanwhile,
what a machine without other work would take. Written to docs/results/explorer-latency.json.
"""

import json
import os
import random
import statistics
import threading
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

from energy.explorer.controls import controls
from energy.explorer.server import Explorer
from energy.explorer.state import State, address

RESULTS = Path(__file__).parents[3] / "docs" / "results" / "explorer-latency.json"
CHANGES, SEED = 50, 7
SEARCHED = ("power", "bandwidth")  # holds whose rivals are simulated in many sizes


def measure() -> dict[str, dict[str, float]]:
    """Kind of change -> its redraws and their milliseconds."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with Explorer("127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.warm()
        rng, state, done = random.Random(SEED), State.default(), 0
        while done < CHANGES:
            name = rng.choice(list(controls()))
            value = rng.choice(controls()[name].stops)
            after = state._replace(**{name: value})
            if after == state:
                continue
            wall, cpu, refused = redraw(server.url, after)
            if not refused:
                kind = "power or bandwidth held equal" if after.hold in SEARCHED else "any other"
                found[kind].append((wall, cpu))
                found["all"].append((wall, cpu))
                state, done = after, done + 1
        server.shutdown()
    return {kind: summary(found[kind]) for kind in ("all", "any other", "power or bandwidth held equal")}


def redraw(url: str, state: State) -> tuple[float, float, bool]:
    """Milliseconds, milliseconds of processor time, and whether the state was refused."""
    start, cpu = time.perf_counter(), time.process_time()
    with urllib.request.urlopen(f"{url}result?{address(state)}", timeout=120) as reply:
        reply.read()
        refused = reply.headers.get("X-Refused") is not None
    return 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - cpu), refused


def summary(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians and 95th percentiles."""
    row: dict[str, float] = {"redraws": len(pairs)}
    for name, values in zip(("", "cpu_"), zip(*pairs, strict=True), strict=True):
        row[f"{name}median_ms"] = round(statistics.median(values), 1)
        row[f"{name}p95_ms"] = round(statistics.quantiles(values, n=20, method="inclusive")[-1], 1)
    return row


def main() -> None:
    """Measure, print and write."""
    rows = measure()
    load = round(os.getloadavg()[0], 1)
    for kind, row in rows.items():
        print(kind, row)
    print(f"processors {os.cpu_count()}, load {load}")
    document = {"seed": SEED, "processors": os.cpu_count(), "load": load, "rows": rows}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
