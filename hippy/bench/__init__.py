"""How fast hippy is on this machine: what ``hippy bench`` measures.

measure.py runs cases against each other, report.py is what comes of it, machine.py says where; codec.py, segment.py
and proofs.py are the three benches. Drawing and options are hippy.cli.bench's.
"""
