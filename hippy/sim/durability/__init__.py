"""How likely data is lost: published calculations reproduced, ours as a Markov chain, and a simulated network."""
