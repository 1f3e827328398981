"""What an index is at one moment: its folder, catalog, snapshot and writer lock."""
