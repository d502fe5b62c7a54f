"""HTTP between nodes: the aiohttp halves with limits, deadlines and one error mapping.

limits.py has the numbers, client.py the calling half, server.py the answering half, hello.py the signed
handshake that stands before any use of an endpoint.
"""
