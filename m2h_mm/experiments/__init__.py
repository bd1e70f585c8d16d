"""Sweeps, costs, single-task models, training logs, tables and plots.

May import engine and all below it.
"""
