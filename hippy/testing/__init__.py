"""What tests of hippy, and of programs built on it, stand on: virtual time, contract suites of the seams.

Import from the modules by name: ``hippy.testing.clock`` has the VirtualClock, ``hippy.testing.chain_contract``
has what every Chain must pass (it imports pytest, so nothing here does).
"""
