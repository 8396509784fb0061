"""Weights of crop models that the authors of MeTRAbs released, for the networks of `metro_tf`."""
