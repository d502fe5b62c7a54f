"""Every outcome that PROTOCOL §8 requires names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PROTOCOL = (REPOSITORY / "docs" / "PROTOCOL.md").read_text()
SECTION = PROTOCOL[PROTOCOL.index("\n## 8. ") : PROTOCOL.index("\n## 9. ")]
CITED = re.compile(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`")


def test_every_required_outcome_names_a_test() -> None:
    rows = [line for line in SECTION.splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(rows) >= 15
    assert [row for row in rows if not CITED.search(row)] == []


def test_every_test_that_is_named_exists() -> None:
    missing = [
        name
        for file, name in CITED.findall(SECTION)
        if not re.search(rf"^(async )?def {name}\(", (REPOSITORY / file).read_text(), re.MULTILINE)
    ]
    assert missing == []
