"""The validator: keeps the registry of its accounts, chooses miners, and knows which of them are there.

Pure: placement.py. State in the database: tables.py (keys and values), log.py (the registry's history), then one
noun per module, as functions on a transaction: accounts.py, once.py (repeated requests), allocation.py,
tickets.py, commit.py, objects.py, listing.py. Around them: keys.py (the node's secrets), directory.py (handshakes
with all miners), planner.py (draws miners for pieces), service.py (who may do what, in which order), server.py
(HTTP, start and stop), settings.py.
"""
