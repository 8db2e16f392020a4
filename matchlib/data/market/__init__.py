"""The simulated labour market, whose truth is known: who fits, who decided what, in which words."""
