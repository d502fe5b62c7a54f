"""Repair: pieces that were lost, or whose miners want to leave, made anew at other miners (PROTOCOL §7).

What a registry knows is in health.py (how many pieces of a segment are left, and the queue that follows from it),
jobs.py (orders under way), moves.py (a piece's new holder), drains.py (miners that leave) and churn.py (how fast pieces
get lost). What is pure: sources.py, masks.py, budget.py, failing.py. What runs: choosing.py and facts.py (what to
repair), planning.py, ordering.py, reading.py, following.py (one order to its end) and, around them, repairer.py;
desk.py takes the word of miners that leave, figures.py tells what is so.
"""
