"""A local network: real miner and validator processes on loopback addresses, under one supervisor.

plan.py lays a network's directory out, process.py runs one node, supervisor.py runs them all, control.py is
how other commands talk to the supervisor.
"""
