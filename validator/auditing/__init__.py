"""The running audits of a validator: the engine of hippy.validator.audit with clock, sockets and memory.

auditor.py follows epochs; questions.py draws, asking.py asks, outcomes.py writes down; closing.py makes headers and
sheets, weighing.py sets weights; probing.py checks in between, reading.py reads; epochs.py keeps all of it,
inventories.py what miners hold, room.py how full a transcript is; routes.py shows it to anyone; opening.py puts it
together.
"""
