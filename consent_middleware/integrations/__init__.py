"""What users of each framework expect; the core imports none of it."""
