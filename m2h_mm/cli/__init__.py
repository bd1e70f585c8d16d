"""The commands, one module each: ``main(argv)`` reads the arguments before anything heavy is imported.

May import everything.
"""
