"""Puts an auditor together from what an earlier run of the validator left in its database."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.kv import Database
from hippy.transport.client import Http
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.rules import rules_for
from hippy.validator.auditing import epochs
from hippy.validator.auditing.asking import Asker
from hippy.validator.auditing.attester import Attester
from hippy.validator.auditing.auditor import Auditor, AuditorParts
from hippy.validator.auditing.closing import Closing
from hippy.validator.auditing.contacts import Contacts
from hippy.validator.auditing.inventories import Inventories
from hippy.validator.auditing.probing import Prober
from hippy.validator.auditing.questions import Questions
from hippy.validator.auditing.reading import PieceReader
from hippy.validator.auditing.weighing import Weigher
from hippy.validator.auditing.witnesses import Witnesses
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import Home
from hippy.validator.scoring import score_rules_for
from hippy.validator.tally import TallyWindow

EPOCH_SECONDS_MIN: Final = 0.1
"""A subnet whose tempo is 0 never ends an epoch; divisions must go on."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an auditor is given: ``signing`` is the validator's HTTP client, ``anonymous`` one that signs nothing."""

    home: Home
    secret: bytes
    database: Database
    chain: Chain
    directory: MinerDirectory
    signing: Http
    anonymous: Http
    clock: Clock
    rng: Random


async def open_auditor(given: Surroundings) -> Auditor:
    """Return an auditor that goes on where the last one stopped.

    Raises TemporaryError when the chain does not say how long an epoch takes.
    """
    home, database, chain, clock = given.home, given.database, given.chain, given.clock
    epoch_seconds = max(EPOCH_SECONDS_MIN, await chain.epoch_seconds())
    rules = rules_for(epoch_seconds)
    score_rules = score_rules_for(rules)
    closing = Closing(home, given.secret, rules, score_rules)
    owed = await database.read(lambda reader: list(epochs.scan_owed(reader)))
    engine = AuditEngine(rules, owed=owed, doubt_streak=await database.read(epochs.get_doubt))
    window = TallyWindow(score_rules.window_epochs)
    for epoch, tallies in await database.read(lambda reader: list(epochs.scan_probes(reader))):
        window.add(epoch, tallies)
    inventories = Inventories(database, score_rules)
    contacts, directory = Contacts(given.directory, clock), given.directory
    prober = Prober(
        PieceReader(given.anonymous, home.network, clock, is_local=chain.is_local),
        directory,
        inventories,
        clock,
        given.rng,
        rules,
        epoch_seconds=epoch_seconds,
        engine=engine,
        reached=contacts.note,
    )
    parts = AuditorParts(
        closing=closing,
        database=database,
        chain=chain,
        directory=directory,
        inventories=inventories,
        questions=Questions(closing, database, chain, inventories),
        asker=Asker(given.signing, directory, clock, given.rng, rules),
        engine=engine,
        prober=prober,
        window=window,
        weigher=Weigher(chain, home, clock, epoch_seconds=epoch_seconds),
        contacts=contacts,
        attester=Attester(
            home,
            contacts,
            clock,
            known=lambda: {*inventories.audited(), *directory.seen()},
            doubts=lambda: engine.doubts,
            silent_seconds=rules.owed_seconds,
        ),
        witnesses=Witnesses(
            given.signing, directory, home, clock, is_local=chain.is_local, silent_seconds=rules.owed_seconds
        ),
        clock=clock,
        epoch_seconds=epoch_seconds,
    )
    return Auditor(parts, await database.read(epochs.newest_header))
