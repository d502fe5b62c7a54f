"""hippy: a decentralized storage network for AI data. docs/ARCHITECTURE.md is the map."""

__version__ = "0.1.0"
