"""What a defence is worth: figures with their intervals, sweeps of attacks over defences, records and reports."""
