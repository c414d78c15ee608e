"""What `posterior.py` compares: two moons learned by this package and by sbi, and how it is timed.

Both sides are given the same simulations: the first rows to train on, the last to validate on.
Validation losses are means of minus the natural logarithm of the density of the parameters as they
were simulated, over all validation rows. sbi standardises the parameters inside its flow and adds
the logarithm of the scale, so its log_prob is such a density; it is computed once more, at the end,
for the weights that are kept. This package's flow works on logits of the prior's cumulative
probabilities; the slope of that map, exact and in float64, is added to each row.
"""
