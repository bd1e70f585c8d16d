"""Converters of the official downloads to the layout that ``MultiTaskDataset`` reads."""
