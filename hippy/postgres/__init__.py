"""State on a PostgreSQL server that several processes share, behind the seam of hippy.kv (docs/adr/0013).

``database.py`` is the database; ``session.py`` one connection, and alone knows asyncpg; ``view.py`` reads;
``leases.py`` shares out work; ``schema.py`` makes and migrates the tables; ``errors.py`` says in our words what went
wrong; ``address.py`` checks the addresses that operators write.
"""
