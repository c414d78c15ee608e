"""Amortised posterior estimators: trained on simulations once, then drawn from at once."""
