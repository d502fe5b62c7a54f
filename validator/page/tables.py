"""The tables of the network page: segments by health, miners, other validators. Pure.

Tables keep their roles written out, because on a narrow screen their rows are laid out as cards, and some browsers take
a table that is not laid out as one for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log1p
from typing import Final

from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.validator.page import units
from hippy.validator.page.markup import Markup, element, joined
from hippy.validator.page.values import Kind, meter, since, spelt, value, word
from hippy.wire.status import (
    FollowedStatus,
    MinerStanding,
    MinerStatus,
    NetworkStatus,
    Reason,
    SegmentHealth,
    SpareCount,
    ValidatorStatus,
)

STATES: Final = {"live": "live", "silent": "silent", "unpublished": "no endpoint"}
BAR_UNITS: Final = 1_000
"""How wide the longest bar of the histogram is, in its own units."""

NOTHING: Final = element("span", "—", class_="nothing")


def key(hotkey: PublicKey) -> Markup:
    """Return a hotkey in full; the stylesheet shortens what is seen of it."""
    address = ss58_encode(hotkey)
    return element("code", address, title=address)


def histogram(health: SegmentHealth) -> Markup:
    """Return how many segments have how many spare pieces; the lengths of bars are logarithms."""
    most = max(health.lost, *(row.segments for row in health.by_spare), 0)
    return _table(
        "Segments by healthy pieces beyond the k they need. Bars are logarithmic.",
        (("Spare pieces", "number"), ("Segments", "number"), ("", "wide")),
        [_lost(health.lost, most), *(_spare(row, most) for row in health.by_spare)],
        rows="segments.health.by_spare",
        class_="histogram",
    )


def miners_table(status: NetworkStatus) -> Markup:
    """Return all miners."""
    own_word = "capacity and use are the miners' own word."
    if status.sheet_epoch is None:
        told = joined("No epoch has ended yet, so nobody has a score; ", own_word)
    else:
        told = joined("Scores of epoch ", value("sheet_epoch", Kind.COUNT, status.sheet_epoch), "; ", own_word)
    return _table(
        told,
        (
            ("UID", "number"),
            ("Hotkey", "text"),
            ("State", "text"),
            ("Health", "number"),
            ("Weight", "number"),
            ("Stored", "number"),
            ("Proved", "number"),
            ("Used", "number"),
            ("Owed", "number"),
            ("What costs weight", "wide"),
        ),
        [_miner(miner, status.time) for miner in status.miners],
        rows="miners",
        class_="miners",
        words=STATES,
    )


def validators_table(status: NetworkStatus) -> Markup:
    """Return the other validators and how far their logs are followed."""
    return _table(
        "Validators with a permit, and homes whose log is followed here.",
        (("UID", "number"), ("Hotkey", "text"), ("Stake", "number"), ("Log", "number"), ("Behind", "number")),
        [_validator(each, status.time) for each in status.validators],
        rows="validators",
        class_="validators",
    )


def _lost(segments: int, most: int) -> Markup:
    path = "segments.health.lost"
    return element(
        "tr",
        _head("Spare pieces", "fewer than k"),
        _cell("Segments", value(path, Kind.COUNT, segments)),
        _cell("", _bar(path, segments, most), class_="bar lost"),
        role="row",
    )


def _spare(row: SpareCount, most: int) -> Markup:
    return _row(
        _head("Spare pieces", value("spare", Kind.COUNT, row.spare)),
        _cell("Segments", value("segments", Kind.COUNT, row.segments)),
        _cell("", _bar("segments", row.segments, most), class_="bar" if row.spare else "bar bare"),
        rows="segments.health.by_spare",
        by="spare",
        name=str(row.spare),
    )


def _bar(path: str, segments: int, most: int) -> Markup:
    width = floor(BAR_UNITS * log1p(segments) / log1p(most) + 0.5) if most else 0
    bar = element("rect", width=width, height=10, data_path=path, data_kind="bar")
    return element("svg", bar, viewBox=f"0 0 {BAR_UNITS} 10", preserveAspectRatio="none", aria_hidden="true")


def _miner(miner: MinerStatus, now: int) -> Markup:
    seen = since("seen_time", miner.seen_time, now=now)
    return _row(
        _cell("UID", value("uid", Kind.COUNT, miner.uid), class_="number"),
        _head("Hotkey", key(miner.hotkey)),
        _cell("State", word("state", miner.state, STATES), element("small", " ", seen), class_="state"),
        *_standing(miner.standing),
        _cell(
            "Used",
            value("used_bytes", Kind.SIZE, miner.used_bytes),
            element("small", " of ", value("capacity_bytes", Kind.SIZE, miner.capacity_bytes)),
            class_="number",
        ),
        _cell("Owed", value("owed_batches", Kind.COUNT, miner.owed_batches), class_="number"),
        _cell("What costs weight", _reasons(miner.standing), class_="reasons"),
        rows="miners",
        by="hotkey",
        name=miner.hotkey.hex(),
    )


def _standing(standing: MinerStanding | None) -> tuple[Markup, ...]:
    """Return the cells of a score: health, weight, stored, proved."""
    if standing is None:
        return tuple(_cell(label, NOTHING, class_="number") for label in ("Health", "Weight", "Stored", "Proved"))
    bad = element("small", " ", element("b", value("standing.leaves_bad", Kind.COUNT, standing.leaves_bad), " bad"))
    return (
        _cell(
            "Health",
            meter("standing.health_ppm", standing.health_ppm, "Health"),
            value("standing.health_ppm", Kind.PERCENT, standing.health_ppm),
            class_="number health",
        ),
        _cell(
            "Weight",
            value("standing.share_ppm", Kind.PERCENT, standing.share_ppm),
            class_="number",
            title=f"weight {units.count(standing.weight)}",
        ),
        _cell("Stored", value("standing.held_bytes", Kind.SIZE, standing.held_bytes), class_="number"),
        _cell(
            "Proved",
            value("standing.proved_bytes", Kind.SIZE, standing.proved_bytes),
            bad if standing.leaves_bad else "",
            class_="number",
            title=f"{units.count(standing.leaves_ok)} leaves shown",
        ),
    )


def _reasons(standing: MinerStanding | None) -> Markup:
    if standing is None:
        return element("span", "not scored yet", class_="nothing", data_absent="standing")
    if not standing.reasons:
        return element("span", "nothing", class_="nothing")
    told = [joined(element("dt", _reason(each)), element("dd", each.rests_on)) for each in standing.reasons]
    brief = ", ".join(_reason(each) for each in standing.reasons)
    return element("details", element("summary", brief), element("dl", *told))


def _reason(reason: Reason) -> str:
    return reason.name if reason.value_ppm is None else f"{reason.name} {units.percent(reason.value_ppm)}"


def _validator(each: ValidatorStatus, now: int) -> Markup:
    log = each.log
    return _row(
        _cell("UID", NOTHING if each.uid is None else value("uid", Kind.COUNT, each.uid), class_="number"),
        _head("Hotkey", key(each.hotkey)),
        _cell("Stake", value("stake_ppm", Kind.PERCENT, each.stake_ppm), class_="number"),
        _cell(
            "Log",
            *_position(log, now),
            class_="number",
        ),
        _cell("Behind", NOTHING if log is None else value("log.behind", Kind.COUNT, log.behind), class_="number"),
        rows="validators",
        by="hotkey",
        name=each.hotkey.hex(),
    )


def _position(log: FollowedStatus | None, now: int) -> tuple[Markup, ...]:
    if log is None:
        return (element("span", "not followed", class_="nothing", data_absent="log"),)
    return value("log.seq", Kind.COUNT, log.seq), element("small", " ", since("log.time", log.time, now=now))


def _table(
    caption: str,
    columns: tuple[tuple[str, str], ...],
    body: list[Markup],
    *,
    rows: str,
    class_: str,
    words: Mapping[str, str] | None = None,
) -> Markup:
    heads = [
        element("th", name, scope="col", role="columnheader", class_=kind)
        if name
        else element("td", role="cell", class_=kind)
        for name, kind in columns
    ]
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads, role="row"), role="rowgroup"),
        element("tbody", *body, role="rowgroup", data_rows=rows),
        role="table",
        class_=class_,
        data_words=None if words is None else spelt(words),
    )


def _row(*cells: Markup, rows: str, by: str, name: str) -> Markup:
    return element("tr", *cells, role="row", data_list=rows, data_by=by, data_key=name)


def _head(label: str, *children: str) -> Markup:
    return element("th", *children, scope="row", role="rowheader", data_label=label)


def _cell(label: str, *children: str, class_: str | None = None, title: str | None = None) -> Markup:
    return element("td", *children, role="cell", data_label=label or None, class_=class_, title=title)
