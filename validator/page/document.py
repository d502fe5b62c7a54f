"""The network page as HTML. Pure: a status in, a document out.

Owns what is said where. Numbers of the status stand in elements that carry them exactly and say where in the status
they are from (hippy.validator.page.values); ``data-absent`` names what the status did not have. So the script brings
numbers up to date, and asks for the page anew when its shape no longer fits. Without the script it says as much.

Invariants: everything goes through hippy.validator.page.markup; nothing here needs a style attribute or a script of its
own inside, which the policy that the page is served with forbids.

Example::

    body = document(status, style=css, script="/page.js?1f2e3d4c")
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template
from typing import Final

from hippy.validator.page.markup import Markup, element, joined
from hippy.validator.page.tables import histogram, key, miners_table, validators_table
from hippy.validator.page.values import Kind, since, spelt, value, word
from hippy.wire.status import NetworkStatus

OUTCOMES: Final = {
    "accepted": "accepted",
    "delayed": "not taken yet",
    "refused": "refused",
    "nobody_earned": "none earned",
}
NOT_COUNTED: Final = "not counted yet"
PPM: Final = 1_000_000


def document(status: NetworkStatus, *, style: str, script: str) -> str:
    """Return the page; ``style`` stands in it, ``script`` is the path of its script."""
    page = element(
        "div",
        _header(status),
        element("main", _figures(status), _middle(status), _miners(status)),
        _footer(status),
        id="page",
        data_epoch=status.epoch,
        data_sheet=status.sheet_epoch,
        data_time=status.time,
    )
    title = joined(f"Subnet {status.netuid} · hippy")
    return _template().substitute(title=title, style=style, script=script, page=page)


@cache
def _template() -> Template:
    return Template(asset("page.html"))


@cache
def asset(name: str) -> str:
    """Return a file of this package: page.html, page.css or page.js."""
    return files("hippy.validator.page").joinpath(name).read_text(encoding="utf-8")


def _header(status: NetworkStatus) -> Markup:
    return element(
        "header",
        element("p", "hippy", class_="brand"),
        element("h1", "Subnet ", value("netuid", Kind.COUNT, status.netuid), " as seen by one validator"),
        element("p", key(status.validator), class_="key"),
        element("p", "as of ", value("time", Kind.DATE, status.time), element("span", id="live"), class_="time"),
    )


def _figures(status: NetworkStatus) -> Markup:
    totals, audits = status.totals, status.audits
    asked = totals.leaves_ok + totals.leaves_bad
    return element(
        "dl",
        _figure(
            "Miners live",
            joined(value("totals.live_miners", Kind.COUNT, totals.live_miners)),
            joined("of ", value("totals.miners", Kind.COUNT, totals.miners)),
        ),
        _figure(
            "Stored",
            value("totals.held_bytes", Kind.SIZE, totals.held_bytes),
            joined(
                value("totals.used_bytes", Kind.SIZE, totals.used_bytes),
                " used of ",
                value("totals.capacity_bytes", Kind.SIZE, totals.capacity_bytes),
            ),
        ),
        _figure(
            "Proved last epoch",
            value("totals.proved_bytes", Kind.SIZE, totals.proved_bytes),
            joined(
                value("totals.leaves_ok", Kind.COUNT, totals.leaves_ok),
                " leaves shown, ",
                value("totals.leaves_bad", Kind.COUNT, totals.leaves_bad),
                " bad",
            )
            if asked
            else joined("no leaf was asked"),
        ),
        _figure("Segments", value("segments.committed", Kind.COUNT, status.segments.committed), _threshold(status)),
        _repair(status),
        _weights(status),
        _figure(
            "Audit lag",
            value("audits.due_batches", Kind.COUNT, audits.due_batches),
            joined(
                "due, ",
                value("audits.owed_batches", Kind.COUNT, audits.owed_batches),
                " owed, oldest ",
                value("audits.oldest_seconds", Kind.SPAN, audits.oldest_seconds),
            ),
        ),
        _epoch(status),
        class_="figures",
        data_words=spelt(OUTCOMES),
    )


def _figure(name: str, main: Markup, more: Markup) -> Markup:
    return element("div", element("dt", name), element("dd", main, class_="main"), element("dd", more))


def _absent(path: str, words: str) -> Markup:
    """Return what is said instead of something that the status does not have."""
    return element("span", words, class_="nothing", data_absent=path)


def _threshold(status: NetworkStatus) -> Markup:
    health = status.segments.health
    if health is None:
        return joined("health ", _absent("segments.health", NOT_COUNTED))
    return joined(
        value("segments.health.at_threshold", Kind.COUNT, health.at_threshold),
        " to repair, ",
        value("segments.health.lost", Kind.COUNT, health.lost),
        " lost",
    )


def _repair(status: NetworkStatus) -> Markup:
    repair = status.repair
    if repair is None:
        return _figure("Repair queue", _absent("repair", "—"), joined(NOT_COUNTED))
    return _figure(
        "Repair queue",
        value("repair.queued_segments", Kind.COUNT, repair.queued_segments),
        joined(
            value("repair.queued_bytes", Kind.SIZE, repair.queued_bytes),
            ", ",
            value("repair.repairing", Kind.COUNT, repair.repairing),
            " pieces under way, ",
            value("repair.stuck_segments", Kind.COUNT, repair.stuck_segments),
            " stuck",
        ),
    )


def _weights(status: NetworkStatus) -> Markup:
    weights = status.weights
    if weights is None:
        return _figure("Last weights", _absent("weights", "—"), joined("none set since the start"))
    return _figure(
        "Last weights",
        word("weights.outcome", weights.outcome, OUTCOMES),
        joined(
            "epoch ",
            value("weights.epoch", Kind.COUNT, weights.epoch),
            ", ",
            value("weights.miners", Kind.COUNT, weights.miners),
            " miners, ",
            since("weights.time", weights.time, now=status.time),
        ),
    )


def _epoch(status: NetworkStatus) -> Markup:
    if status.epoch is None or status.epoch_time is None:
        return _figure("Epoch", _absent("epoch", "—"), joined("none begun yet"))
    began = joined(
        "began ",
        since("epoch_time", status.epoch_time, now=status.time),
        ", ",
        value("audits.entries", Kind.COUNT, status.audits.entries),
        " answers",
    )
    return _figure("Epoch", value("epoch", Kind.COUNT, status.epoch), began)


def _middle(status: NetworkStatus) -> Markup:
    health = status.segments.health
    if health is None:
        told = element("p", "The health of segments is ", _absent("segments.health", NOT_COUNTED), ".")
    else:
        told = histogram(health)
    return element(
        "div",
        element("section", element("h2", "Segments by health"), told),
        element("section", element("h2", "This validator"), _own(status)),
        element("section", element("h2", "Other validators"), _others(status)),
        class_="middle",
    )


def _own(status: NetworkStatus) -> Markup:
    rows = [
        ("Network", element("code", status.network.hex(), title=status.network.hex())),
        ("Software", element("span", f"{status.software}, protocol {status.protocol}")),
        ("Chain epoch", _optional("chain_epoch", status.chain_epoch)),
        ("Block", _optional("block", status.block)),
        ("Beacon round", value("beacon_round", Kind.COUNT, status.beacon_round)),
        ("Log records", value("log_seq", Kind.COUNT, status.log_seq)),
        ("Segments released", value("segments.released", Kind.COUNT, status.segments.released)),
    ]
    told = [element("div", element("dt", name), element("dd", what)) for name, what in rows]
    return element("dl", *told, class_="own")


def _optional(path: str, number: int | None) -> Markup:
    return _absent(path, "the chain does not say") if number is None else value(path, Kind.COUNT, number)


def _others(status: NetworkStatus) -> Markup:
    empty = element("p", "None is known.", class_="nothing")
    told = validators_table(status)
    return told if status.validators else joined(empty, element("div", hidden=True, data_rows="validators"))


def _miners(status: NetworkStatus) -> Markup:
    return element("section", element("h2", "Miners"), miners_table(status), class_="all")


def _footer(status: NetworkStatus) -> Markup:
    return element(
        "footer",
        element(
            "p",
            "The same as JSON: ",
            element("a", "/v1/status", href="/v1/status"),
            ". What is behind it: ",
            element("a", "/v1/epochs", href="/v1/epochs"),
            ", ",
            element("a", "/v1/miners", href="/v1/miners"),
            ", ",
            element("a", "/v1/log", href="/v1/log"),
            ". hippy validator verify-weights computes it again; hippy miner explain says what to do.",
        ),
        element("p", status.software),
    )
