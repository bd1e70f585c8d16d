"""The commands, one module each, which read their arguments before anything heavy is imported.

May import everything.
"""
