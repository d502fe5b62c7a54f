"""``hippy validator verify-weights``: anyone computes again what a validator says of its miners.

Exit code 0 says that everything matches, 6 that something does not; what could not be fetched has its error's code.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hippy.cli.network_options import network_options
from hippy.cli.printing import counted, json_option, print_json, shown

if TYPE_CHECKING:
    from hippy.endpoint import Endpoint
    from hippy.ids import PublicKey
    from hippy.validator.verifying.record import Result
    from hippy.validator.verifying.terms import EpochMatch
    from hippy.validator.verifying.testimony import MinerTestimony

EPOCHS_MAX = 100
"""Of the 160 that validators keep, the older ones name batches whose headers are forgotten."""

WORDS = ("silent", "offline", "unknown", "never_asked", "failed_unanswered")
"""How an entry without an answer is told."""


@click.command("verify-weights")
@click.argument("url", required=False, metavar="[URL]")
@click.option(
    "--epochs",
    "epochs_max",
    type=click.IntRange(1, EPOCHS_MAX),
    default=3,
    show_default=True,
    help="How many closed epochs, from the newest back.",
)
@network_options(required=False)
@json_option
def verify_weights(url: str | None, epochs_max: int, network: str | None, netuid: int | None, as_json: bool) -> int:
    """Compute again what a validator says, from what it publishes.

    URL is where it listens, http://1.2.3.4:8080 or 1.2.3.4:8080; by default the validator of the account in use.
    Checks headers, their times and secrets, the log, that every audit was asked as drawn, every verdict, receipts of
    pieces, the score sheets, and that the weights on chain are theirs. Says for each epoch that it matches, or names
    the first difference and exits with 6. A WARNING is what no rule forbids, and should be known: rules of its own,
    miners that are never asked or never heard.

    The beacon comes from the chain: --network and --netuid, by default the local network in use.
    """
    from hippy.cli.running import run
    from hippy.errors import IntegrityError

    named = _network(network, netuid)
    endpoint, hotkey = _where(url)
    result = run(_verify(endpoint, hotkey, *named, epochs_max=epochs_max, quiet=as_json))
    if as_json:
        print_json(_told(result))
    else:
        _say(result)
    return 0 if result.difference is None else IntegrityError.exit_code


def _network(network: str | None, netuid: int | None) -> tuple[str, int | None]:
    """Return the network that is named, or the local one in use, and the subnet if it matters."""
    from hippy.chain.network import LocalNetwork, parse_network
    from hippy.client.home import find_local_network
    from hippy.errors import UsageError

    if network is None:
        directory = find_local_network()
        if directory is None:
            raise UsageError("which chain is the validator on?", hint="name it: --network finney --netuid N")
        network = f"local:{directory}"
    if netuid is None and not isinstance(parse_network(network), LocalNetwork):
        raise UsageError(f"{network} has many subnets, and none is named", hint="add --netuid N")
    return network, netuid


def _where(url: str | None) -> tuple[Endpoint, PublicKey | None]:
    """Return where the validator listens, and its hotkey where an account names it."""
    from hippy.client.home import find_credentials
    from hippy.endpoint import Endpoint
    from hippy.errors import ProtocolError, UsageError

    if url is None:
        credentials = find_credentials()
        return credentials.validator_endpoint, credentials.validator_hotkey
    try:
        return Endpoint.parse(url.removeprefix("http://").removesuffix("/")), None
    except ProtocolError as error:
        raise UsageError(
            f"not the URL of a validator: {error.message}", hint="it has a numeric address: http://1.2.3.4:8080"
        ) from None


async def _verify(
    endpoint: Endpoint, hotkey: PublicKey | None, network: str, netuid: int | None, *, epochs_max: int, quiet: bool
) -> Result:
    from random import SystemRandom

    from hippy.chain.open import open_chain
    from hippy.clock import SystemClock
    from hippy.errors import ConfigError
    from hippy.transport.client import Peer, open_http
    from hippy.transport.hello import meet, shake_hands
    from hippy.validator.verifying.published import Published
    from hippy.validator.verifying.record import verify_published

    clock = SystemClock()
    async with open_chain(network, netuid or 0, identity=None, clock=clock) as chain, open_http(None, clock) as http:
        if netuid is not None and netuid != chain.netuid:
            raise ConfigError(f"{network} has subnet {chain.netuid}, not subnet {netuid}")
        if hotkey is None:
            hotkey = (await meet(http, endpoint, "validator", clock=clock)).hotkey
        peer = Peer(endpoint, hotkey)
        hello = await shake_hands(http, peer, "validator", chain.network, local=chain.is_local, clock=clock)
        if hello.netuid != chain.netuid:
            raise ConfigError(f"{peer} is on subnet {hello.netuid}, not subnet {chain.netuid}", hint="check --netuid")
        return await verify_published(
            Published(http, peer),
            chain,
            hotkey,
            epochs_max=epochs_max,
            clock=clock,
            rng=SystemRandom(),
            tell=_ignore if quiet else _say_match,
            progress=_ignore if quiet else _say_progress,
        )


def _ignore(_: object) -> None:
    """Everything is told all at once."""


def _say_progress(what: str) -> None:
    click.echo(what, err=True)


def _say_match(match: EpochMatch) -> None:
    asked = match.entries - match.never_asked
    click.echo(
        f"epoch {match.epoch}: MATCH  {counted(match.miners, 'miner')}, {match.batches:,} batches, "
        f"{counted(asked, 'request')} drawn again, {counted(match.verdicts, 'verdict')} computed again: "
        f"{match.leaves_ok:,} leaves ok, {match.leaves_bad:,} bad"
    )
    words = {
        "silent": match.silent,
        "offline": match.offline,
        "unknown": match.unknown,
        "failed unanswered": match.failed_unanswered,
        "never asked": match.never_asked,
    }
    told = ", ".join(f"{count:,} {word}" for word, count in words.items() if count) or "nothing"
    click.echo(
        f"  the validator's word: {told} ({match.testimony_ppm / 1e4:.1f} % of entries); "
        "uptime, reads, speed, which data is paid"
    )
    if match.left_out:
        click.echo(f"  no row for {counted(match.left_out, 'miner')} that the chain shows no longer, or only since")
    if match.rules is not None:
        click.echo(f"  the sheet has rules of its own: {shown(match.rules)}")


def _say(result: Result) -> None:
    from hippy.identity import ss58_encode

    if result.newest_epoch < result.chain_epoch:
        click.echo(
            f"the newest header is of epoch {result.newest_epoch}, the chain is in {result.chain_epoch}", err=True
        )
    for remark in result.remarks:
        click.echo(f"WARNING  {shown(str(remark))}")
    if result.difference is not None:
        click.echo(f"DIFFERENCE  {shown(str(result.difference))}")
        return
    if result.weights_epoch is None:
        click.echo("weights on chain: none can be expected yet, or older than these sheets")
    else:
        click.echo(f"weights on chain: those of the sheet of epoch {result.weights_epoch}")
    click.echo(f"MATCH  {ss58_encode(result.validator)}, {counted(len(result.matches), 'epoch')}")


def _told(result: Result) -> dict[str, Any]:
    from hippy.identity import ss58_encode

    difference = result.difference
    return {
        "validator": ss58_encode(result.validator),
        "match": difference is None,
        "newest_epoch": result.newest_epoch,
        "chain_epoch": result.chain_epoch,
        "weights_epoch": result.weights_epoch,
        "rules_differ": any(match.rules is not None for match in result.matches),
        "order_epochs": result.order_epochs,
        "remarks": [
            {
                "epoch": remark.epoch,
                "miner": None if remark.miner is None else ss58_encode(remark.miner),
                "message": str(remark),
            }
            for remark in result.remarks
        ],
        "testimony": [_told_of_miner(ss58_encode(hotkey), each) for hotkey, each in sorted(result.testimony.items())],
        "epochs": [{**asdict(match), "testimony_ppm": match.testimony_ppm} for match in result.matches],
        "difference": None
        if difference is None
        else {
            "epoch": difference.epoch,
            "miner": None if difference.miner is None else ss58_encode(difference.miner),
            "batch": difference.batch,
            "message": str(difference),
        },
    }


def _told_of_miner(address: str, testimony: MinerTestimony) -> dict[str, Any]:
    return {
        "miner": address,
        "entries": testimony.entries,
        "answered": testimony.answered,
        "leaves": testimony.leaves,
        "testimony_ppm": testimony.testimony_ppm,
        **{word: testimony.words[word] for word in WORDS},
    }
