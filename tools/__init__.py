"""Checks and generators that keep the house in order."""
