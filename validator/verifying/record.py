"""``hippy validator verify-weights``: a validator's newest epochs fetched, and computed again (PROTOCOL §6).

Owns the order of fetching: headers from the newest back, the log up to the newest header's head, transcripts of epochs
before for what was owed then (before.py), and then epoch by epoch transcript, headers of older batches, beacons,
evidence and sheet. Computing is hippy.validator.verifying.epoch's, in threads.

Memory: one transcript at a time and what was asked in those before, the holdings that the log tells of, and a page of
whatever is being read.

Example::

    result = await verify_published(Published(http, peer), chain, peer.hotkey, epochs_max=3, clock=clock, rng=Random())
    if result.difference is not None:
        print(result.difference)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Final

from hippy.chain.protocol import BeaconNotYet, Chain, Metagraph
from hippy.clock import Clock
from hippy.errors import NotFoundError
from hippy.ids import PublicKey
from hippy.proofs.transcript import Transcript
from hippy.validator.audit.attesting import permitted_stakes
from hippy.validator.audit.rules import rules_for
from hippy.validator.verifying.before import EarlierAskings, Progress
from hippy.validator.verifying.difference import Difference, Remark, before_the_range
from hippy.validator.verifying.epoch import Verification
from hippy.validator.verifying.headers import HeaderChain, log_head
from hippy.validator.verifying.log import LogReading
from hippy.validator.verifying.losses import may_attest
from hippy.validator.verifying.onchain import matching_sheet
from hippy.validator.verifying.published import Published
from hippy.validator.verifying.registered import registrations_of
from hippy.validator.verifying.terms import EpochMatch, Terms
from hippy.validator.verifying.testimony import MinerTestimony
from hippy.validator.verifying.timing import Moment
from hippy.wire.audit import EpochHeader, Epochs
from hippy.wire.score import ScoreSheet

HEADERS_MAX: Final = 1_024
"""Headers that are read back for batches of older epochs; validators keep 160."""

OWED_EPOCHS_MAX: Final = 40
"""Epochs in which an owed batch may still be asked: twice a day. Transcripts that are nearer to the oldest header than
that name batches whose headers are forgotten; as many before the first are read for what was asked in them."""

BEACONS_AT_ONCE: Final = 8
BEACONS_KEPT_MAX: Final = 65_536

Tell = Callable[[EpochMatch], None]


@dataclass(slots=True)
class Result:
    """What came of it: epochs that match, in order, and the first difference, None where there is none.

    ``weights_epoch`` is the sheet that the weights on chain are those of, None where that could not be told.
    ``newest_epoch`` is that of the newest header, ``chain_epoch`` the chain's. ``remarks`` are to be known
    though nothing is wrong; ``testimony`` is what was said of each miner. ``order_epochs`` before those that match were
    read for what was owed from there.
    """

    validator: PublicKey
    newest_epoch: int = 0
    chain_epoch: int = 0
    matches: list[EpochMatch] = field(default_factory=list)
    weights_epoch: int | None = None
    difference: Difference | None = None
    remarks: list[Remark] = field(default_factory=list)
    testimony: dict[PublicKey, MinerTestimony] = field(default_factory=dict)
    order_epochs: int = 0


async def verify_published(
    published: Published,
    chain: Chain,
    validator: PublicKey,
    *,
    epochs_max: int,
    clock: Clock,
    rng: Random,
    tell: Tell = lambda _: None,
    progress: Progress = lambda _: None,
) -> Result:
    """Verify the newest closed epochs, up to ``epochs_max``, telling of each that matches and of what takes long.

    ``rng`` chooses the receipts that are looked at. Raises NotFoundError when no epoch was closed yet or something is
    not shown, TemporaryError when validator or chain cannot be reached or a temporary file not be written,
    ProtocolError for answers that are no messages, TooLargeError for a log above all limits.
    """
    result = Result(validator)
    reader = _Reader(published, chain, validator, clock, rng)
    try:
        await reader.verify(result, epochs_max, tell, progress)
    except Difference as difference:
        result.difference = difference
    finally:
        reader.close()
    return result


class _Reader:
    """One verification; keeps beacons, so that a round is asked for once."""

    def __init__(self, published: Published, chain: Chain, validator: PublicKey, clock: Clock, rng: Random) -> None:
        self._published = published
        self._chain = chain
        self._validator = validator
        self._clock = clock
        self._rng = rng
        self._headers = HeaderChain(chain.network, chain.netuid, validator)
        self._log = LogReading(chain.network, validator)
        self._beacons: dict[int, bytes] = {}

    def close(self) -> None:
        """Let go of temporary files."""
        self._log.close()

    async def verify(self, result: Result, epochs_max: int, tell: Tell, progress: Progress) -> None:
        """Fill in the result."""
        metagraph, terms = await self._terms()
        weights = await self._weights(metagraph)  # first: what is set now is of a sheet that is published now
        kept = await self._published.epochs()
        result.newest_epoch, result.chain_epoch = kept.last, await self._chain.current_epoch()
        epochs = await self._newest_epochs(kept, epochs_max)
        async for page in self._published.log(log_head(self._headers.newest).seq):
            await asyncio.to_thread(self._log.add, page)
        before = await self._sheet_before(self._headers.header(epochs[0]))
        verification = Verification(terms, self._headers, self._log, before)
        await asyncio.to_thread(verification.check_frame, epochs[0])
        result.testimony = verification.testimony.miners
        try:
            await self._read_before(verification, epochs[0], kept, result, progress)
            sheets = [] if before is None else [before]
            for epoch in epochs:
                match, sheet = await self._verify_epoch(verification, epoch, kept, epochs[0])
                sheets.append(sheet)
                result.matches.append(match)
                tell(match)
            await asyncio.to_thread(verification.finish)
            if weights is not None:
                result.weights_epoch = matching_sheet(sheets, weights, metagraph, self._validator)
        finally:
            result.remarks += verification.remarks()

    async def _sheet_before(self, first: EpochHeader) -> ScoreSheet | None:
        """Return the sheet of the epoch before the first, None where that is the validator's first."""
        if first.prev_epoch is None:
            return None
        before = await self._published.sheet(first.prev_epoch)
        if before.id(self._chain.network) != first.sheet_id:
            raise Difference(
                f"the score sheet is not the one that the header of epoch {first.epoch} names", epoch=first.prev_epoch
            )
        return before

    async def _read_before(
        self, verification: Verification, first: int, kept: Epochs, result: Result, progress: Progress
    ) -> None:
        """Read what was asked in the epochs before the first, as far as anything of it may be owed still."""
        wanted = len(self._headers.upto(first)) + OWED_EPOCHS_MAX
        try:
            while len(self._headers.upto(first)) < wanted and await self._read_back(kept):
                pass
        except Difference as difference:
            result.remarks.append(before_the_range(difference))
        await asyncio.to_thread(verification.check_frame, first)
        epochs = [header.epoch for header in self._headers.oldest_first if header.epoch < first][-OWED_EPOCHS_MAX:]
        reading = EarlierAskings(self._published, verification, self._clock)
        found = await reading.read(epochs, progress)
        result.order_epochs = len(found)
        if reading.ended_by is not None:
            result.remarks.append(reading.ended_by)
        for epoch, askings in reversed(found):
            await asyncio.to_thread(verification.take_earlier, epoch, askings)

    async def _newest_epochs(self, kept: Epochs, epochs_max: int) -> list[int]:
        """Read headers from the newest back; return the closed epochs that can be verified, in order.

        One more header than epochs is needed before them, unless the first of them is the validator's first.
        """
        headers = self._headers
        headers.add(await self._published.header(kept.last))
        while len(headers) < epochs_max + 2 and await self._read_back(kept):
            pass
        epochs = [header.epoch for header in headers.oldest_first]
        if headers.oldest.prev_epoch is not None:
            del epochs[0]  # nothing shows what it was committed to
            if (await self._published.header(kept.first)).prev_epoch is not None:  # headers were forgotten
                epochs = [epoch for epoch in epochs if epoch >= kept.first + OWED_EPOCHS_MAX]
        elif kept.first < headers.oldest.epoch:
            raise Difference(
                f"the header says that it is the first, but there is one of epoch {kept.first}",
                epoch=headers.oldest.epoch,
            )
        if len(epochs) < 2:
            raise NotFoundError(
                f"the validator has closed no epoch that can be verified: it keeps epochs {kept.first} to {kept.last}",
                hint="try again when the next epoch has begun",
            )
        return epochs[:-1][-epochs_max:]

    async def _read_back(self, kept: Epochs) -> bool:
        """Read the header before the oldest; return whether there was one."""
        epoch = self._headers.oldest.prev_epoch
        if epoch is None or epoch < kept.first or len(self._headers) >= HEADERS_MAX:
            return False
        self._headers.add(await self._published.header(epoch))
        return True

    async def _terms(self) -> tuple[Metagraph, Terms]:
        chain = self._chain
        metagraph, epoch = await chain.metagraph(), await chain.current_epoch()
        epoch_seconds = await chain.epoch_seconds()
        moment = Moment(self._clock.now(), epoch, await chain.beacon_round())
        return metagraph, Terms(
            network=chain.network,
            netuid=chain.netuid,
            validator=self._validator,
            rules=rules_for(epoch_seconds),
            epoch_seconds=epoch_seconds,
            rounds=await chain.rounds_per_epoch(),
            registrations=registrations_of(metagraph, moment, epoch_seconds),
            moment=moment,
            may_attest=chain.is_local or may_attest(metagraph, self._validator),
            rng=self._rng,
            stakes=permitted_stakes(metagraph),
        )

    async def _verify_epoch(
        self, verification: Verification, epoch: int, kept: Epochs, first: int
    ) -> tuple[EpochMatch, ScoreSheet]:
        raw = await self._published.transcript(epoch)
        transcript = await asyncio.to_thread(verification.read_transcript, epoch, raw)
        await self._read_back_to(transcript, verification, kept, first)
        check = await asyncio.to_thread(verification.open_epoch, transcript)
        await self._fetch_beacons(check.rounds, epoch)
        check.begin(self._beacons)
        async for items in self._published.evidence(epoch, len(transcript.entries)):
            await asyncio.to_thread(check.take_evidence, items)
        sheet = await self._published.sheet(epoch)
        return await asyncio.to_thread(check.close, sheet), sheet

    async def _read_back_to(self, transcript: Transcript, verification: Verification, kept: Epochs, first: int) -> None:
        """Read headers back to that of the oldest batch, and one further, which committed to its secret."""
        oldest = min((entry.epoch for entry in transcript.entries), default=transcript.scope.epoch)
        count = len(self._headers)
        while self._headers.oldest.epoch >= oldest and await self._read_back(kept):
            pass
        if len(self._headers) > count:
            await asyncio.to_thread(verification.check_frame, first)

    async def _fetch_beacons(self, rounds: Iterable[int], epoch: int) -> None:
        if len(self._beacons) > BEACONS_KEPT_MAX:
            self._beacons.clear()
        missing = iter(sorted(set(rounds) - self._beacons.keys()))
        while portion := list(islice(missing, BEACONS_AT_ONCE)):
            try:
                beacons = await asyncio.gather(*map(self._chain.beacon, portion))
            except BeaconNotYet:
                raise Difference("a batch was drawn from a beacon round that is not known yet", epoch=epoch) from None
            self._beacons.update(zip(portion, beacons, strict=True))

    async def _weights(self, metagraph: Metagraph) -> dict[int, float] | None:
        """Return the validator's weights on chain, None where it is not registered."""
        neuron = metagraph.by_hotkey(self._validator)
        return None if neuron is None else await self._chain.weights_of(neuron.uid)
