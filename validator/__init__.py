"""The validator: keeps the registry of its accounts, chooses miners, and knows which of them are there.

Pure: placement.py, scoring.py, sheets.py (rows of an epoch's scores), tally.py (probes of the last epochs), weights.py,
explain.py, history.py (the log as a stranger folds it), held.py, and the packages audit/ (the engine) and most of
verifying/ (a stranger's check). State in the database: tables.py (keys and values), log.py (the registry's history),
then one noun per module, as functions on a transaction: accounts.py, once.py (repeated requests), allocation.py,
tickets.py, commit.py, holdings.py, losses.py, objects.py, listing.py, records.py (segment records as answers), buckets.py,
leases.py (until when a segment is kept), releases.py (its end), inventory.py (what became of tickets), statistics.py.
Around them: rates.py (who may ask how much), inventory_desk.py, admin.py and admin_routes.py (the operator's side), keys.py (the node's secrets),
directory.py (handshakes with all miners), departures.py (who left), planner.py (draws miners for pieces), auditing/
(the running audits), service.py (who may do what, in which order), server.py (HTTP, start and stop), settings.py.
"""
