"""Replays histories by seed: ``python -m tests.histories.run SEED [COUNT]`` prints what happened in each."""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter

from tests.histories.history import play
from tests.histories.world import Violation


def main(arguments: list[str]) -> int:
    """Play one history and print it, or COUNT of them from SEED on and print the failures."""
    first, count = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 1
    failed, visits, began = list[int](), Counter[str](), time.process_time()
    for seed in range(first, first + count):
        try:
            world = play(seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this seed's, and the others are played on
            failed.append(seed)
            told = str(error) if isinstance(error, Violation) else traceback.format_exc()
            print(f"seed {seed}: {told}\nreplay: python -m tests.histories.run {seed}\n")
            continue
        visits += world.visits
        if count == 1:
            print("\n".join(world.log))
    print(f"{count} histories from seed {first}, {len(failed)} violations {failed[:20]}")
    print(f"  {(time.process_time() - began) / count * 1000:.0f} ms each; visits: {dict(sorted(visits.items()))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
