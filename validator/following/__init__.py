"""Several validators: copies of other homes' registries, and what they are good for (PROTOCOL §3.6, §5.7).

views.py is a registry below a key prefix, fold.py turns a log back into tables, replica.py keeps a followed home's.
follower.py asks one home, checking.py judges what comes, followers.py has one such task for every validator that
peers.py knows. The home's side: desk.py answers, pages.py makes the pages, watch.py tells of new records, copies.py
waits until followers have them. registries.py says which registry answers for an account; equivocations.py keeps proofs
against homes; recovering.py gets a home's own records back.
"""
