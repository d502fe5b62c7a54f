"""The miner: keeps sealed pieces, answers for them, serves them.

Modules, from the wire down: ``server`` (routes, :func:`hippy.miner.server.run_miner`), ``bodies`` (piece bytes in
from HTTP), ``service`` (who may store what, PROTOCOL §3.2), ``audit`` (leaves for validators, §5.3), ``permits``
(whose tickets and audits count), ``reports`` and ``losses`` (what is lost is told before it is asked for, §5.5),
``store`` (one durable whole), ``files``, ``leaves`` and ``disk`` (piece files, blocking), ``obligations`` and
``lost_rows`` (the index), ``bounds`` (what is given away at once), ``rates`` (how often to whom), ``settings``.
"""
