"""What a validator publishes, computed again by a stranger: ``hippy validator verify-weights`` (PROTOCOL §6).

record.py fetches with published.py and goes through the newest epochs; epoch.py checks one: headers.py, log.py,
schedule.py, entries.py, order.py, losses.py, sheet.py, onchain.py; difference.py is what is raised. All but the
fetching is pure.
"""
