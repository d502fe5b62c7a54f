"""Merkle trees over pieces and the proofs drawn from them (PROTOCOL §2)."""
