"""Tables, readers, rules, splits and the simulated labour market. Loads no torch."""
