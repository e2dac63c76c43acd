"""Measuring defences: figures with their intervals, sweeps of attacks over defences, records and reports."""
