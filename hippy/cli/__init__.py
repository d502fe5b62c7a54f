"""The ``hippy`` command. commands.py has the list of commands; each module beside it holds one family of them.

Modules import only click at the top: ``hippy --help`` must not pay for aiohttp, pydantic, rich or asyncio.
"""
