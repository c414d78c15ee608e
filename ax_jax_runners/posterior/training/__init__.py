"""Training of estimators, epoch by epoch."""
