"""The messages of docs/PROTOCOL.md as frozen values: one accepted spelling, parsed once, bounded.

canonical.py has the one spelling and the base classes, fields.py the field types; then one module per noun:
node.py (hello, directory, encryption key), ticket.py, segment.py, object.py, log.py. parts.py frames a
message with binary blobs, btauth.py signs and verifies whole requests.
"""
