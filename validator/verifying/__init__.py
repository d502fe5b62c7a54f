"""What a validator publishes, computed again by a stranger: ``hippy validator verify-weights`` (PROTOCOL §6).

record.py fetches with published.py, goes through the newest epochs and, by before.py, through what was asked in those
before; epoch.py checks one epoch: headers.py, timing.py, log.py, schedule.py, entries.py, order.py, losses.py,
receipts.py, sheet.py, onchain.py. terms.py and registered.py have what the chain says, testimony.py how much is the
validator's word; difference.py is what is raised or remarked. All but the fetching is pure, save that the receipts of
a large log lie in a temporary file.
"""
