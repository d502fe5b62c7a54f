"""The miner: keeps sealed pieces, answers for them, serves them.

Modules, from the wire down: ``server`` (routes, :func:`hippy.miner.server.run_miner`), ``bodies`` (piece bytes in
and out of HTTP), ``service`` (who may store what, PROTOCOL §3.2), ``permits`` (whose tickets count), ``store`` (one
durable whole), ``files`` and ``disk`` (piece files, blocking), ``obligations`` (the index), ``bounds`` (what is
given away at once), ``settings``.
"""
