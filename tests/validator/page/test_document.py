"""The page says what the status says, in HTML that nothing breaks."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import get_args

import pytest

from hippy.identity import ss58_encode
from hippy.validator.auditing.weighing import WeightsTry
from hippy.validator.page.document import NOT_COUNTED, OUTCOMES, asset, document
from hippy.validator.page.figures import HealthFigures
from hippy.validator.page.status import NO_STANDINGS, standings_of
from hippy.validator.page.tables import STATES
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.status import MinerStatus, NetworkStatus, Reason, WeightsOutcome, WeightsStatus
from tests.validator.page.reading import Shown, elements_of, in_status, shown_in
from tests.validator.page.world import HOTKEYS, entry, metagraph, score, sheet, status

HOSTILE = "</dd><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


def page(told: NetworkStatus) -> str:
    return document(told, style="", script="/page.js")


BARE = status(
    header=None,
    standings=NO_STANDINGS,
    health=None,
    repair=None,
    weights=None,
    block=None,
    chain_epoch=None,
    followed=(),
)
"""A validator that has just started."""

GREAT = status(
    miners=[entry(0, capacity_bytes=INTEGER_MAX, used_bytes=INTEGER_MAX, seen_time=INTEGER_MAX)],
    health=HealthFigures({14: INTEGER_MAX, 0: 1}, INTEGER_MAX),
    log_seq=INTEGER_MAX,
)


@pytest.mark.parametrize("told", [status(), BARE, GREAT], ids=["usual", "bare", "great"])
def test_every_number_shown_is_the_statuss(told: NetworkStatus) -> None:
    values, shown = json.loads(told.encode()), shown_in(page(told))
    assert len(shown) > 15
    for each in shown:
        if each.kind != "bar":
            assert str(in_status(values, each)) == each.value, each


def test_what_the_page_is_for_is_on_it() -> None:
    shown = {each.path if not each.rows else f"{each.rows}[].{each.path}" for each in shown_in(page(status()))}
    assert shown >= {
        "netuid",
        "epoch",
        "block",
        "beacon_round",
        "time",
        "miners[].uid",
        "miners[].state",
        "miners[].capacity_bytes",
        "miners[].used_bytes",
        "miners[].standing.share_ppm",
        "miners[].standing.health_ppm",
        "miners[].standing.held_bytes",
        "miners[].standing.proved_bytes",
        "totals.held_bytes",
        "totals.proved_bytes",
        "segments.health.by_spare[].segments",
        "segments.health.at_threshold",
        "segments.health.lost",
        "repair.queued_segments",
        "repair.queued_bytes",
        "repair.repairing",
        "repair.stuck_segments",
        "weights.outcome",
        "weights.epoch",
        "weights.time",
        "audits.due_batches",
        "audits.owed_batches",
        "audits.oldest_seconds",
        "validators[].log.behind",
    }


def test_every_miner_is_named_with_its_reasons_in_words() -> None:
    told = page(status())
    elements = elements_of(told)
    assert {text for name, _, text in elements if name == "code"} >= {ss58_encode(key) for key in HOTKEYS[:13]}
    reasons = [text for name, _, text in elements if name == "summary"]
    assert reasons == [
        "proofs 0.41 %",
        "age 33.50 %",
        "uptime 7.35 %, reads 93.75 %, age 55 %",
        "speed 33.55 %",
        "bytes",
    ]
    assert "244 of 256 leaves shown this epoch" in told


def test_what_is_not_counted_is_said_to_be() -> None:
    told = page(BARE)
    assert told.count(NOT_COUNTED) == 3
    assert "not scored yet" in told
    absent = {attrs["data-absent"] for _, attrs, _ in elements_of(told) if "data-absent" in attrs}
    assert absent == {"segments.health", "repair", "weights", "epoch", "block", "chain_epoch", "log", "standing"}
    whole = status(metagraph=replace(metagraph(), neurons=()), miners=[entry(0)])
    assert "data-absent" not in page(whole)


@pytest.mark.parametrize(("outcome", "said"), OUTCOMES.items())
def test_what_became_of_the_weights_is_said(outcome: WeightsOutcome, said: str) -> None:
    shown = {each.path: each for each in shown_in(page(status(weights=WeightsTry(7, 1, outcome, 0))))}
    assert (shown["weights.outcome"].value, shown["weights.outcome"].text) == (outcome, said)


def test_every_state_and_outcome_has_a_word() -> None:
    assert set(STATES) == set(get_args(MinerStatus.model_fields["state"].annotation))
    assert set(OUTCOMES) == set(get_args(WeightsStatus.model_fields["outcome"].annotation))


def test_a_text_that_is_html_stays_a_text() -> None:
    told = status()
    miner = told.miners[3]
    assert miner.standing is not None
    hostile = miner.standing.model_copy(update={"reasons": (Reason(name="proofs", rests_on=HOSTILE),)})
    miners = (miner.model_copy(update={"standing": hostile}),)
    html = page(told.model_copy(update={"miners": miners, "software": HOSTILE}))
    assert [attrs for name, attrs, _ in elements_of(html) if name == "script"] == [{"src": "/page.js", "defer": None}]
    assert not any(name == "img" for name, _, _ in elements_of(html))
    assert any(text == HOSTILE for name, _, text in elements_of(html) if name == "dd")


@pytest.mark.parametrize("told", [status(), BARE, GREAT], ids=["usual", "bare", "great"])
def test_the_page_is_well_formed_and_runs_nothing_that_stands_in_it(told: NetworkStatus) -> None:
    html = page(told)
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">')
    assert "width=device-width" in html
    for name, attrs, text in elements_of(html):
        assert "style" not in attrs
        assert not any(attribute.startswith("on") for attribute in attrs)
        assert name != "script" or text == ""
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", html)


def test_tables_are_tables_to_whoever_cannot_see_them() -> None:
    elements = elements_of(page(status()))
    tables = [attrs for name, attrs, _ in elements if name == "table"]
    assert len(tables) == len([text for name, _, text in elements if name == "caption" and text]) == 3
    assert all(attrs["role"] == "table" for attrs in tables)
    assert {attrs.get("scope") for name, attrs, _ in elements if name == "th"} == {"col", "row"}
    assert {attrs.get("role") for name, attrs, _ in elements if name in {"td", "th"}} == {
        "cell",
        "columnheader",
        "rowheader",
    }
    ids = [attrs["id"] for _, attrs, _ in elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_exact_values_stand_in_titles() -> None:
    shown = {each.path: each for each in shown_in(page(status())) if not each.rows}
    assert shown["repair.queued_bytes"] == Shown(
        "", "", "repair.queued_bytes", "size", "22020096", "21.0 MiB", "22,020,096 bytes"
    )
    assert (shown["weights.time"].text, shown["weights.time"].title) == ("40 min ago", "2027-01-15 07:20:00 UTC")


def test_bars_are_as_long_as_the_logarithm_of_what_they_stand_for() -> None:
    told = status(health=HealthFigures({-1: 1, 0: 0, 1: 3, 2: 7}, 0))
    widths = {each.key or each.path: int(each.value) for each in shown_in(page(told)) if each.kind == "bar"}
    assert widths == {"segments.health.lost": 333, "0": 0, "1": 667, "2": 1_000}


def test_without_segments_bars_have_no_length() -> None:
    told = status(health=HealthFigures({}, 0))
    assert [each.value for each in shown_in(page(told)) if each.kind == "bar"] == ["0"]


def test_assets_hold_nothing_that_would_end_them() -> None:
    assert "</" not in asset("page.css")
    assert "$" not in asset("page.css")


def test_a_score_of_nothing_is_shown() -> None:
    html = page(status(standings=standings_of(sheet(score(0, paid_bytes=0)))))
    shown = [each for each in shown_in(html) if each.rows == "miners" and each.path == "standing.share_ppm"]
    assert [each.text for each in shown] == ["0 %"]
