"""Hundreds of miners, weeks of epochs, virtual time: what honesty earns and what every other strategy does."""
