"""The audit engine: which batch is asked when, and what comes of it (PROTOCOL §5.2, §5.5). Pure.

rules.py has the constants, schedule.py the batches of an epoch, batch.py the life of one batch, doubt.py when the
validator distrusts itself, engine.py all of them together. Sockets, disks, clocks and beacons are
hippy.validator.auditing.auditor's.
"""
