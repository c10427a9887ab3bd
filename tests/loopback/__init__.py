"""Servers that speak vendors' protocols on loopback and really execute, one package for each vendor."""
