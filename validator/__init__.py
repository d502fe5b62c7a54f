"""The validator: keeps the registry of its accounts, chooses miners, and knows which of them are there.

Pure: placement.py, scoring.py, sheets.py (rows of an epoch's scores), tally.py (probes of the last epochs), weights.py,
explain.py, history.py (the log as a stranger folds it), held.py, and the packages audit/ (the engine) and most of
verifying/ (a stranger's check). State in the database: tables.py (keys and values), log.py (the registry's history),
then one noun per module, as functions on a transaction: accounts.py, once.py (repeated requests), allocation.py,
tickets.py, commit.py, leases.py (until when a segment is kept), releases.py (its end), inventory.py (what became of
tickets), holdings.py, losses.py, objects.py, listing.py, buckets.py, records.py (segment records as answers),
statistics.py. Around them: keys.py (the node's secrets), directory.py (handshakes with all miners), departures.py (who
left), planner.py (draws miners for pieces), auditing/ (the running audits), rates.py (who may ask how much), service.py
(who may do what, in which order), inventory_desk.py, server.py (HTTP, start and stop), admin.py and admin_routes.py
(the operator's side), settings.py.
"""
