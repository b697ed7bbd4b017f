"""The rules, as pure functions of values: no files, network, threads, clock, randomness or logging."""
