"""The network page: what a validator shows everybody of its network, as HTML and as JSON.

figures.py says what it takes from others, gathering.py reads what is there, status.py makes the message of it,
document.py the page, routes.py serves both. Nothing in it is about an account.
"""
