"""From the official downloads to the layout that :class:`m2h_mm.datasets.MultiTaskDataset` reads."""
