"""A run as plain data and on disk: its record, its folder, sweeps of records."""
